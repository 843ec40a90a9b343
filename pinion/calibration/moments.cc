#include "pinion/calibration/moments.h"

namespace pinion::calibration {
namespace {

// By way of memory that libtorch page-locks once and uses again: several times as fast for large products.
at::Tensor on_host(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  at::Tensor host = at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
  return host.copy_(tensor);
}

}  // namespace

void Gram::add(const at::Tensor& rows, const at::Tensor& weights) {
  const at::Tensor wide = rows.to(at::kFloat);
  const at::Tensor weighted = weights.defined() ? wide * weights.unsqueeze(1) : wide;
  const at::Tensor product = on_host(at::mm(weighted.t(), wide));
  if (!sum_.defined()) sum_ = at::zeros(product.sizes(), at::kFloat);
  sum_ += product;
  count_ += rows.size(0);
  weight_ += weights.defined() ? weights.sum().item<double>() : static_cast<double>(rows.size(0));
}

at::Tensor Gram::mean(at::Device device) const { return sum_.to(device).to(at::kDouble).div_(weight_); }

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

at::Tensor Moments::mean(at::Device device) const {
  return origin_.to(device, at::kDouble) + sum_.to(device) / products_.weight();
}

at::Tensor Moments::covariance(at::Device device) const {
  const at::Tensor shift = sum_.to(device) / products_.weight();
  return products_.mean(device).addr_(shift, shift, 1, -1);
}

}  // namespace pinion::calibration
