#pragma once
// The calibrated streams of which the golden files and the fuzzer's corpus are made. Pure functions.

#include "pinion/codec/calibrated/calibration_testing.h"

namespace pinion::codec::testing {

// Two steps of a stream, with what is needed to decode them.
struct GoldenCalibrated {
  Bytes asset;
  std::vector<SyntheticStream::Step> steps;
  std::vector<Bytes> frames;  // the second predicts from the first
};

// Rows in bands, by their loudness.
inline constexpr SyntheticForm kGoldenBands = {
    .rows = 24, .channels = 10, .components = 4, .latents = 3, .deaf = 2, .has_loudness = true, .seed = 45};

// Residuals transformed over two pictures, whose tiles are not all whole.
inline constexpr SyntheticForm kGoldenGrid = {
    .rows = 2 * 9 * 11, .channels = 6, .components = 3, .latents = 2, .deaf = 1, .grid = {9, 11}, .seed = 46};

// Low frequencies in front of rows in bands, of four pictures whose tiles are not all whole.
inline constexpr SyntheticForm kGoldenLow = {.rows = 4 * 9 * 11,
                                             .channels = 8,
                                             .components = 5,
                                             .latents = 2,
                                             .deaf = 1,
                                             .has_loudness = true,
                                             .loudness_octaves = 0.8,
                                             .grid = {9, 11},
                                             .seed = 48};

// Whose sender corrects the velocity.
inline constexpr SyntheticForm kGoldenResponse = {
    .rows = 24, .channels = 10, .components = 4, .latents = 3, .deaf = 2, .has_response = true, .seed = 47};

inline GoldenCalibrated golden_calibrated(const SyntheticForm& form) {
  SyntheticStream stream(form);
  GoldenCalibrated golden;
  golden.asset = write_calibration(stream.calibration());
  // Low frequencies pay where not too much is said.
  const double target = form.has_loudness && form.grid.tokens() > 0 ? 20 : 35;
  auto encoder =
      CalibratedEncoder::create(parse_calibration(golden.asset).value(), {.output_snr_db = target}).value();
  for (int i = 0; i < 2; ++i) {
    const SyntheticStream::Step step = stream.next(DType::kBF16);
    golden.frames.push_back(encoder.encode(step.tensor, step.context())->frame);
    golden.steps.push_back(step);
  }
  return golden;
}

}  // namespace pinion::codec::testing
