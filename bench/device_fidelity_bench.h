#pragma once
// Decoding of fidelity frames on a CUDA device, measured on made frames: 1024 components whose sizes fall,
// 4608 rows.

#include "bench/device_timing.h"

namespace pinion::bench {

// Prints a line for each way to cut a frame; false if a call failed.
bool run_fidelity_decoding(std::int64_t channels, const Setting& setting, cudaStream_t stream);

}  // namespace pinion::bench
