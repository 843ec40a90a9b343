#pragma once
// Decodes the body of a frame of mode 2, the fast way.

#include "pinion/codec/fidelity/reconstruct.h"

namespace pinion::codec {

struct DecodedFrame {
  Tensor tensor;
  StreamState state;
};

// `basis` is the one that the frame's header names, null if it names none;
// `previous` the stream's state, null at its start. kNotFound if the frame
// predicts from another one.
Result<DecodedFrame> decode_fidelity(const ParsedFrame& frame, const Basis* basis,
                                     const StreamState* previous, IndexTables& tables, ChunkPool& pool);

// The state that the frame's integers lead to, without the tensor.
Result<StreamState> decode_state(const ParsedFrame& frame, const FidelityBody& body,
                                 const StreamState* previous, IndexTables& tables, ChunkPool& pool);

// Checks that `previous` is what the frame predicts from (see decode_fidelity).
Result<void> check_previous(const FrameHeader& header, const StreamState* previous);

}  // namespace pinion::codec
