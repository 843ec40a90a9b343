#include "pinion/calibration/moments.h"

namespace pinion::calibration {

void Gram::add(const at::Tensor& rows, const at::Tensor& weights) {
  const at::Tensor wide = rows.to(at::kFloat);
  const at::Tensor weighted = weights.defined() ? wide * weights.unsqueeze(1) : wide;
  const at::Tensor product = at::mm(weighted.t(), wide).cpu();
  if (!sum_.defined()) sum_ = at::zeros_like(product);
  sum_ += product;
  count_ += rows.size(0);
  weight_ += weights.defined() ? weights.sum().item<double>() : static_cast<double>(rows.size(0));
}

at::Tensor Gram::mean() const { return sum_.to(at::kDouble) / weight_; }

void Moments::add(const at::Tensor& rows, const at::Tensor& weights) {
  const at::Tensor wide = rows.to(at::kFloat);
  if (!origin_.defined()) {
    origin_ = wide.mean(0);
    sum_ = at::zeros({rows.size(1)}, at::kDouble);
  }
  const at::Tensor centred = wide - origin_;
  const at::Tensor weighted = weights.defined() ? centred * weights.unsqueeze(1) : centred;
  sum_ += weighted.sum(0).cpu().to(at::kDouble);
  products_.add(centred, weights);
}

at::Tensor Moments::mean() const { return origin_.cpu().to(at::kDouble) + sum_ / products_.weight(); }

at::Tensor Moments::covariance() const {
  const at::Tensor shift = sum_ / products_.weight();
  return products_.mean() - at::outer(shift, shift);
}

}  // namespace pinion::calibration
