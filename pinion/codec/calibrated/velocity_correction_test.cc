// What senders add to the velocity that comes back (docs/calibration.md, "Corrected").

#include <gtest/gtest.h>

#include "pinion/base/float_formats.h"
#include "pinion/codec/calibrated/calibrated_codec.h"
#include "pinion/codec/calibrated/calibration_testing.h"

namespace pinion::codec {
namespace {

using testing::kGenerous;
using testing::SyntheticForm;
using testing::SyntheticStream;

constexpr CalibratedTarget kTarget{.output_snr_db = 18};

// What the sender adds to the velocity is its real error times the response of that place in the schedule.
TEST(VelocityCorrection, IsTheMeanResponseToTheError) {
  for (const TokenGrid grid : {TokenGrid{}, TokenGrid{.lines = 16, .columns = 16}}) {
    const SyntheticForm form{.latents = 6, .has_response = true, .grid = grid, .seed = 31};
    SyntheticStream stream(form);
    const auto calibration = testing::through_bytes(stream.calibration());
    ASSERT_TRUE(calibration->has_response);
    auto encoder = CalibratedEncoder::create(calibration, kTarget).value();
    CalibratedDecoder decoder(calibration);
    for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
      auto step = stream.next();
      const bool between = t == 1;  // two records
      if (between) step.sigma = (testing::synthetic_sigma(1) + testing::synthetic_sigma(2)) / 2;
      EXPECT_TRUE(encoder.correction(step.tensor, step.context()).empty()) << "before the frame";
      const CalibratedFrame coded = encoder.encode(step.tensor, step.context()).value();
      const Tensor decoded = decoder.decode(coded.frame, step.context(), kGenerous).value();
      const std::vector<float> correction = encoder.correction(step.tensor, step.context());
      ASSERT_EQ(correction.size(), form.rows * form.latents);
      const Matrix at = stream.response(t),
                   next = stream.response(std::min(t + 1, testing::kSyntheticSteps - 1));
      const std::vector<float> sent = floats_of(step.tensor), arrived = floats_of(decoded);
      double largest = 0, off = 0;
      for (std::size_t r = 0; r < form.rows; ++r) {
        for (std::size_t l = 0; l < form.latents; ++l) {
          double expected = 0;
          for (std::size_t c = 0; c < form.channels; ++c) {
            const double response = between ? (at.row(c)[l] + next.row(c)[l]) / 2 : at.row(c)[l];
            expected += (sent[r * form.channels + c] - arrived[r * form.channels + c]) * response;
          }
          largest = std::max(largest, std::abs(expected));
          off = std::max(off, std::abs(expected - correction[r * form.latents + l]));
        }
      }
      EXPECT_GT(largest, 0.1);
      EXPECT_LT(off, 2e-3 * largest) << "step " << t;
      auto fewer = step.context();
      fewer.latents = fewer.latents.subspan(form.latents);
      EXPECT_TRUE(encoder.correction(step.tensor, fewer).empty());
      EXPECT_FALSE(encoder.encode(step.tensor, fewer).ok());
      EXPECT_TRUE(encoder.correction(step.tensor, step.context()).empty()) << "after a refusal";
    }
  }
  SyntheticStream plain({});
  auto encoder = CalibratedEncoder::create(testing::through_bytes(plain.calibration()), kTarget).value();
  const auto step = plain.next();
  ASSERT_TRUE(encoder.encode(step.tensor, step.context()).ok());
  EXPECT_TRUE(encoder.correction(step.tensor, step.context()).empty());
}

}  // namespace
}  // namespace pinion::codec
