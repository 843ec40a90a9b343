#pragma once
// How encoders cut rows that differ in loudness into bands (docs/format.md §12.6, §13.1), on every device.

#include "pinion/codec/calibrated/calibrated_format.h"

namespace pinion::codec {

struct LoudnessBands {
  int step_growth = 0;  // of the step from each band to the next, in the unit of steps

  // How much less loud rows are from each band to the next: an error costs its square, so twice as many
  // octaves as the step grows by.
  double octaves() const { return 2.0 * step_growth / kStepsPerOctave; }
};

// Of rows without latents most are as good as silent, some 2^-16 as loud as the loudest. Those with latents
// differ less, so that finer bands reach.
constexpr LoudnessBands loudness_bands(bool has_latents) {
  return has_latents ? LoudnessBands{48} : LoudnessBands{96};
}
static_assert(loudness_bands(true).step_growth <= kMaxStepGrowth &&
              loudness_bands(false).step_growth <= kMaxStepGrowth);

}  // namespace pinion::codec
