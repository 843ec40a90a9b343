#pragma once
// Fidelity frames on a CUDA device, 4608 rows: decoding of made frames of 1024 components whose sizes fall,
// and encoding of made states in a basis of 512.

#include "bench/device_timing.h"

namespace pinion::bench {

// Prints a line for each way to cut a frame; false if a call failed.
bool run_fidelity_decoding(std::int64_t channels, const Setting& setting, cudaStream_t stream);

// Prints a line for key frames and one for later ones, and what the CPU's frames of the same states take;
// false if a call failed.
bool run_fidelity_encoding(std::int64_t channels, const Setting& setting, cudaStream_t stream);

}  // namespace pinion::bench
