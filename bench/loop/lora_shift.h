#pragma once
// A model that its calibration never saw: the same one with a random low-rank change of its blocks, as a LoRA
// makes.

#include <cstdint>
#include <filesystem>

#include "pinion/base/result.h"

namespace pinion::bench {

struct LoraShift {
  double scale = 0;  // Frobenius norm of each matrix's change, relative to the matrix
  int rank = 16;
  std::uint64_t seed = 1;
};

// Writes `model`, a diffusers folder, to `out`, which is made: every two-dimensional weight of a block gets
// W + A B with normal A and B, rounded to its own dtype; all else is the same (other sub-folders are links).
Result<void> write_shifted_model(const std::filesystem::path& model, const LoraShift& shift,
                                 const std::filesystem::path& out);

}  // namespace pinion::bench
