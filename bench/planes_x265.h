#pragma once
// The coder that codec_vs_planes compares with: a state as 8-bit pictures through a video encoder (x265).
// Every channel becomes one tile of tokens with its own range; 8 x 8 tiles make a plane and three planes a
// 4:4:4 picture. The pictures of one encode predict from each other.

#include <cstddef>
#include <span>
#include <vector>

#include "bench/state_streams.h"
#include "pinion/base/result.h"

namespace pinion::bench {

enum class PlanePadding {
  kLean,      // sides to multiples of 8, unused tiles flat grey: as little waste as HEVC allows
  kHardware,  // sides to multiples of 16 and at least 144, unused tiles repeat the last channel
};

struct PlaneSettings {
  TokenGrid grid;
  std::size_t channels = 0;
  PlanePadding padding = PlanePadding::kLean;
  int qp = 0;  // constant, the same for I and P pictures
};

struct PlaneStep {
  std::size_t bytes = 0;       // this step's access units, plus 4 bytes a channel for its range (2 x fp16)
  std::vector<float> decoded;  // from the encoder's reconstructed pictures, which a decoder equals
};

// Codes the steps ([tokens, channels] each, tokens = grid rows x columns) with preset medium, tuned for PSNR,
// without B pictures or look-ahead: a step must be decodable when it arrives. Parameter sets count as step
// 0's.
Result<std::vector<PlaneStep>> code_as_planes(std::span<const std::vector<float>> steps,
                                              const PlaneSettings& settings);

}  // namespace pinion::bench
