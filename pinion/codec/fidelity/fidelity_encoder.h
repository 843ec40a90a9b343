#pragma once
// One tensor to one frame of mode 2 at a target, in a given basis and from a
// given previous state.
//
// Pure functions but for the workspace they use.

#include "pinion/codec/centred_tensor.h"
#include "pinion/codec/fidelity/correlation.h"
#include "pinion/codec/fidelity/frame_quantiser.h"

namespace pinion::codec {

struct FidelityRequest {
  const TensorView& tensor;
  const CentredTensor& centred;
  const Projection& projection;
  const ComponentSample& sample;  // of the projection and the prediction
  const BasisFit* fit = nullptr;  // null: components are channels
  Prediction prediction;
  double target_error = 0;  // mean squared error of a row that is allowed
  double aim = 1;           // over the target: what a frame much like this one should have aimed at
};

struct CodedFidelity {
  Bytes frame;
  StreamState state;
  double step = 0;
  Tensor decoded;
  FrameStats stats;  // but for what depends on the stream: bytes of a basis, key frame
  int passes = 0;    // quantisations of the whole tensor that it took
  double aim = 1;    // FidelityRequest::aim for frames much like this one
};

// Nothing if the target cannot be met this way. Threads of the pool share the components and rows.
std::optional<CodedFidelity> encode_fidelity(const FidelityRequest& request, FidelityWorkspace& workspace,
                                             ChunkPool& pool);

}  // namespace pinion::codec
