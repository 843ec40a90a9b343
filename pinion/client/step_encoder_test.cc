// What a client tells workers of the latents, and gives its sampler of their velocities.

#include "pinion/client/step_encoder.h"

#include <gtest/gtest.h>

#include "pinion/base/crc32c.h"
#include "pinion/base/float_formats.h"
#include "pinion/codec/calibrated/calibration_testing.h"
#include "pinion/transport/latents_delta.h"

namespace pinion::client {
namespace {

using codec::testing::SyntheticForm;
using codec::testing::SyntheticStream;
using transport::Blob;

const codec::BasisStore kNoBases{{}};

SyntheticForm form(bool has_response) {
  return {.rows = 64, .channels = 24, .components = 4, .latents = 6, .has_response = has_response, .seed = 5};
}

std::uint32_t crc_of(const std::vector<float>& values) { return crc32c(std::as_bytes(std::span(values))); }

// A job at cut 3 whose sampler and worker are the test.
class StepEncoderTest : public testing::TestWithParam<bool> {
 protected:
  StepEncoderTest() : stream_(form(GetParam())) {
    StepEncoderSetup setup;
    setup.job = std::string(32, 'a');
    setup.state_profile = {.mode = codec::Mode::kCalibrated, .target_snr_db = 20};
    setup.cut = setup.last_cut = 3;
    setup.streams.picture = "image";
    EXPECT_TRUE(setup.calibrations.add(codec::write_calibration(stream_.calibration())).ok());
    encoder_ = std::make_unique<StepEncoder>(std::move(setup), kNoBases);
  }

  struct Told {
    transport::LatentsPart part;
    Bytes blob;  // of the latents
    std::vector<float> correction;
  };
  Told send(const std::vector<float>& latents) {
    const auto state = stream_.next();
    const StepRequest request{.step = step_,
                              .sigma = {state.sigma},
                              .delta_sigma = step_ > 0 ? kDelta : 0,
                              .latents = Tensor::from_floats(latents, {1, 64, 6}),
                              .noise = {},
                              .state = {{"image", state.tensor}}};
    const SentStep sent = encoder_->encode(request, false).value();
    Told told{transport::read_header<transport::Step>(sent.message).value().latents, {}, {}};
    const ByteSpan blob = sent.message.blobs.at(0).bytes;
    told.blob.assign(blob.begin(), blob.end());
    told.correction = encoder_->correction(request).value();
    return told;
  }

  // What the sampler gets where the worker answers `velocity`.
  std::vector<float> receive(const std::vector<float>& velocity, const std::vector<float>& correction) {
    transport::StepResult result;
    result.job = std::string(32, 'a');
    result.step = step_++;
    const auto lossless = codec::Encoder::create({.mode = codec::Mode::kLossless}).value();
    transport::Message message = transport::make_message(std::move(result));
    message.blobs = {Blob::of(lossless->encode(Tensor::from_floats(velocity, {1, 64, 6}))->frame)};
    return floats_of(encoder_->decode(message, correction)->velocity);
  }

  std::vector<float> noise() {
    std::vector<float> values(std::size_t{64} * 6);
    for (float& value : values) value = static_cast<float>(dice_.normal());
    return values;
  }

  static std::vector<float> after(std::vector<float> latents, const std::vector<float>& velocity) {
    transport::predict_latents(latents, velocity, kDelta, latents);
    return latents;
  }

  static constexpr float kDelta = -0.25f;
  SyntheticStream stream_;
  std::unique_ptr<StepEncoder> encoder_;
  codec::testing::Dice dice_{9};
  int step_ = 0;
};

TEST_P(StepEncoderTest, WorkersFollowTheVelocityThatTheyMade) {
  // Calibrated states take a first noise of four bits, which both ends decode alike.
  const std::vector<float> first = noise();
  const Told start = send(first);
  EXPECT_EQ(start.part.form, "exact");
  EXPECT_EQ(codec::inspect(start.blob, codec::testing::kGenerous)->mode, codec::Mode::kInt4);
  const auto decoder = codec::Decoder::create();
  std::vector<float> known = floats_of(decoder->decode(start.blob, codec::testing::kGenerous).value());
  EXPECT_NE(known, first);
  EXPECT_EQ(start.part.crc32c, crc_of(known));
  EXPECT_EQ(start.correction.size(), GetParam() ? first.size() : 0);

  // The sampler follows what it got, the workers what they sent.
  const std::vector<float> velocity = noise(), corrected = receive(velocity, start.correction);
  for (std::size_t i = 0; i < velocity.size(); ++i) {
    ASSERT_EQ(corrected[i], velocity[i] + (GetParam() ? start.correction[i] : 0));
  }
  const std::vector<float> second = after(first, corrected);
  const Told next = send(second);
  known = after(known, velocity);
  EXPECT_EQ(next.part.form, "predicted");
  EXPECT_LT(next.blob.size(), 64u);
  EXPECT_EQ(next.part.crc32c, crc_of(known));

  // What it adds to its own step is not lost.
  const std::vector<float> next_velocity = noise(), followed = receive(next_velocity, next.correction);
  std::vector<float> third = after(second, followed);
  known = after(known, next_velocity);
  for (std::size_t i = 7; i < third.size(); i += 100) {
    third[i] += 0.5f;
    known[i] += third[i] - after(second, followed)[i];
  }
  const Told changed = send(third);
  EXPECT_EQ(changed.part.form, "predicted");
  EXPECT_EQ(changed.part.crc32c, crc_of(known));

  // A sampler that goes its own way says where.
  receive(noise(), changed.correction);
  const Told other = send(noise());
  EXPECT_EQ(other.part.form, "exact");
  EXPECT_EQ(other.part.crc32c,
            crc_of(floats_of(decoder->decode(other.blob, codec::testing::kGenerous).value())));
}

// Another job may have put other bases into the store since the last stage was told of these.
TEST(VelocityBases, AreThoseThatTheLastStageWasToldOf) {
  const codec::testing::LowRank form{.rows = 64, .channels = 32, .rank = 2};
  const Bytes basis = codec::testing::basis_of(form);
  const Tensor velocity = codec::testing::low_rank(DType::kF16, form).reshaped({1, 64, 32});
  StepEncoderSetup setup;
  setup.state_profile = {.mode = codec::Mode::kFidelity, .target_snr_db = 20};
  setup.cut = setup.last_cut = 3;
  setup.velocity_bases = {basis};
  StepEncoder encoder(std::move(setup), kNoBases);
  const Tensor latents = Tensor::from_floats(std::vector<float>(64 * 32), {1, 64, 32});
  ASSERT_TRUE(
      encoder.encode({.step = 0, .sigma = {1}, .latents = latents, .noise = {}, .state = {}}, false).ok());

  const auto worker = codec::Encoder::create({.mode = codec::Mode::kFidelity, .target_snr_db = 32}).value();
  worker->assume_known_basis(codec::basis_hash(basis));
  ASSERT_TRUE(worker->offer_basis(basis).ok());
  codec::EncodedFrame encoded = worker->encode(velocity).value();
  ASSERT_TRUE(encoded.basis.empty());
  ASSERT_EQ(codec::inspect(encoded.frame, codec::testing::kGenerous)->basis_hash, codec::basis_hash(basis));
  transport::StepResult result;
  result.job = std::string(32, 'a');
  transport::Message message = transport::make_message(std::move(result));
  message.blobs = {Blob::of(std::move(encoded.frame))};
  const auto received = encoder.decode(message, {});
  ASSERT_TRUE(received.ok()) << received.error().message();
}

INSTANTIATE_TEST_SUITE_P(Responses, StepEncoderTest, testing::Bool());

}  // namespace
}  // namespace pinion::client
