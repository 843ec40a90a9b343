#pragma once
// Sums over rows, gathered job by job: all that a linear calibration needs to know of what it saw. Memory
// does not grow with the jobs. One object is used by one thread at a time.
//
// Products are float32, made on the rows' device and summed on the host, where there is more room; means are
// float64, on the device that is asked for.

#include <ATen/ATen.h>

namespace pinion::calibration {

// The sum of rows' outer products.
class Gram {
 public:
  // [n, width], the same width in every call. `weights` [n] say how much each row counts; undefined: 1.
  void add(const at::Tensor& rows, const at::Tensor& weights = {});

  std::int64_t count() const { return count_; }         // rows
  double weight() const { return weight_; }             // of all rows
  at::Tensor mean(at::Device device = at::kCPU) const;  // sum / weight, [width, width]

 private:
  std::int64_t count_ = 0;
  double weight_ = 0;
  at::Tensor sum_;
};

// Mean and covariance.
class Moments {
 public:
  void add(const at::Tensor& rows, const at::Tensor& weights = {});  // as Gram::add

  std::int64_t count() const { return products_.count(); }
  at::Tensor mean(at::Device device = at::kCPU) const;        // [width]
  at::Tensor covariance(at::Device device = at::kCPU) const;  // [width, width]

 private:
  at::Tensor origin_;  // mean of the first rows: about it, large means cost no digits
  at::Tensor sum_;     // about the origin
  Gram products_;      // about the origin
};

}  // namespace pinion::calibration
