#include "pinion/calibration/moments.h"

namespace pinion::calibration {

void Gram::add(const at::Tensor& rows) {
  const at::Tensor wide = rows.to(at::kFloat);
  const at::Tensor product = at::mm(wide.t(), wide).cpu();
  if (!sum_.defined()) sum_ = at::zeros_like(product);
  sum_ += product;
  count_ += rows.size(0);
}

at::Tensor Gram::mean() const { return sum_.to(at::kDouble) / static_cast<double>(count_); }

void Moments::add(const at::Tensor& rows) {
  const at::Tensor wide = rows.to(at::kFloat);
  if (!origin_.defined()) {
    origin_ = wide.mean(0);
    sum_ = at::zeros({rows.size(1)}, at::kDouble);
  }
  const at::Tensor centred = wide - origin_;
  sum_ += centred.sum(0).cpu().to(at::kDouble);
  products_.add(centred);
}

at::Tensor Moments::mean() const {
  return origin_.cpu().to(at::kDouble) + sum_ / static_cast<double>(count());
}

at::Tensor Moments::covariance() const {
  const at::Tensor shift = sum_ / static_cast<double>(count());
  return products_.mean() - at::outer(shift, shift);
}

}  // namespace pinion::calibration
