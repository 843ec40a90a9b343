#pragma once
// Which streams a job's state is coded in (docs/protocol.md, section 5). As a rule a state tensor is a
// stream. In calibrated jobs with reference pictures the rows of these are a stream of their own: they hardly
// change from step to step, and the rest of the model hears them otherwise than the picture's. Pure.

#include <string>
#include <string_view>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/codec.h"

namespace pinion::codec {

inline constexpr std::string_view kReferenceStream = "reference";

struct StateStreams {
  std::string picture;              // the tensor that has rows of the picture, then of its references
  std::int64_t picture_rows = 0;    // of each batch item
  std::int64_t reference_rows = 0;  // likewise; 0: every tensor is a stream

  // Those of a job whose states are coded by `profile`.
  StateStreams for_profile(const Profile& profile) const {
    return {picture, picture_rows, profile.mode == Mode::kCalibrated ? reference_rows : 0};
  }

  bool splits(std::string_view tensor) const { return reference_rows > 0 && tensor == picture; }

  // The state [batch, rows, channels] as streams, in its order; references follow their picture.
  // kInvalidArgument: a tensor has another number of rows. Tensors are on the CPU.
  Result<TensorList> split(const TensorList& state) const;

  // The state again, from streams in the order of split(). kProtocol: a part has another number of rows; that
  // names, batch, channels and dtypes fit is the caller's affair.
  Result<TensorList> join(const TensorList& streams) const;
};

}  // namespace pinion::codec
