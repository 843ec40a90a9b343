#pragma once
// What a synthetic stream of tests is made of: calibration_testing.h makes it. Values and pure functions.

#include <cmath>

#include "pinion/codec/calibrated/calibrated_codec.h"

namespace pinion::codec::testing {

struct SyntheticForm {
  std::size_t rows = 256;
  std::size_t channels = 96;
  std::size_t components = 8;  // heard by the output, deviation 2^(-k/2)
  std::size_t latents = 16;    // 0: a stream without them
  std::size_t deaf = 8;        // further directions that are not
  double kept = 0.9;           // correlation of a component with itself one step before
  bool has_history = true;
  bool has_loudness = false;    // the first deaf direction tells how loud a row is
  double loudness_octaves = 3;  // between rows that follow each other
  bool has_response = false;    // each latent channel of the velocity follows one heard direction
  TokenGrid grid = {};  // what is new in components is alike in neighbours on it; none: in no two rows
  std::uint32_t seed = 1;
};

inline constexpr std::size_t kSyntheticSteps = 4;

inline float synthetic_sigma(std::size_t step) { return 1.0f - 0.25f * static_cast<float>(step); }

// The output's energy of a row, and what a squared error of a component adds to it.
inline constexpr float kSyntheticOutputEnergy = 4;
inline float synthetic_gain(std::size_t component) { return 1 / (1 + 0.25f * static_cast<float>(component)); }

inline double synthetic_deviation(std::size_t component) {
  return std::exp2(-static_cast<double>(component) / 2);
}

// log2; a fifth of the rows change from step to step.
inline double synthetic_loudness(const SyntheticForm& form, std::size_t row, std::size_t step) {
  return -form.loudness_octaves * static_cast<double>((row + (row % 5 == 0 ? step : 0)) % 4);
}

// As it is after it was written and read.
inline std::shared_ptr<const Calibration> through_bytes(const Calibration& calibration) {
  return parse_calibration(write_calibration(calibration)).value();
}

}  // namespace pinion::codec::testing
