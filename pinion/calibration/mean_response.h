#pragma once

#include <ATen/ATen.h>

namespace pinion::calibration {

// How rows g of J^T u follow from their own rows u, on average: the mean of J from a row to itself, by least
// squares. `joined` [channels + outputs, channels + outputs] is the mean of the products of rows [g | u];
// the result is [outputs, channels].
inline at::Tensor mean_response(const at::Tensor& joined, std::int64_t channels) {
  const std::int64_t outputs = joined.size(0) - channels;
  const at::Tensor probes = joined.narrow(0, channels, outputs);
  return at::linalg_solve(probes.narrow(1, channels, outputs), probes.narrow(1, 0, channels));
}

}  // namespace pinion::calibration
