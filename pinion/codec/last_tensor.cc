#include "pinion/codec/last_tensor.h"

namespace pinion::codec {

Result<const std::byte*> LastTensor::elements_for(const FrameHeader& header) const {
  if (!header.previous) return nullptr;
  if (!held_ || held_->checksum != *header.previous) return previous_frame_not_here();
  if (!same_matrix(held_->tensor, header.dtype, header.shape))
    return Error{Errc::kBadFormat, "coded frame predicts from one of another type or size", ""};
  return held_->tensor.view().data;
}

Tensor LastTensor::keep(std::uint32_t checksum, const std::shared_ptr<Tensor>& decoded) {
  held_ = {checksum, Tensor::wrap(decoded->view(), decoded)};
  return held_->tensor;
}

}  // namespace pinion::codec
