#pragma once
// One tensor to one frame of mode 2 at a target, in a given basis and from a
// given previous state.
//
// Pure functions but for the tables they fill.

#include "pinion/codec/frame_quantiser.h"

namespace pinion::codec {

// A tensor made ready for coding.
struct CentredTensor {
  Matrix transposed;          // [channels, rows], without the means
  std::vector<double> means;  // [channels]
  double energy = 0;          // mean squared length of a centred row
};

// kInvalidArgument if a value is NaN or infinite. The tensor is on the CPU, of
// a type that mode 2 allows.
Result<CentredTensor> centre(const TensorView& tensor);

struct FidelityRequest {
  const TensorView& tensor;
  const CentredTensor& centred;
  const Projection& projection;
  const BasisFit* fit = nullptr;  // null: components are channels
  Prediction prediction;
  double target_error = 0;  // mean squared error of a row that is allowed
};

struct CodedFidelity {
  Bytes frame;
  StreamState state;
  double step = 0;
  double ideal_index_bits = 0;
  Tensor decoded;  // what the decoder will get
};

// Nothing if the target cannot be met this way.
std::optional<CodedFidelity> encode_fidelity(const FidelityRequest& request, IndexTables& tables);

// Mean squared length of a row's difference.
double row_error(const TensorView& a, const TensorView& b);

}  // namespace pinion::codec
