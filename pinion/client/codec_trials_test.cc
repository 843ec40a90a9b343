// Codecs are tried as the job will run them.

#include "pinion/client/codec_trials.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "pinion/base/float_formats.h"
#include "pinion/codec/codec_testing.h"

namespace pinion::client {
namespace {

constexpr std::size_t kSide = 18, kRows = kSide * kSide, kLatents = 12, kOwn = 4, kChannels = 96;
constexpr int kCut = 3;

std::vector<float> normal(codec::testing::Dice& dice, std::size_t count, double size) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(size * dice.normal());
  return values;
}

// left [kRows, depth] times right [depth, kChannels].
void add_product(const std::vector<float>& left, const std::vector<float>& right, std::size_t depth,
                 std::vector<float>& sum) {
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t k = 0; k < depth; ++k) {
      for (std::size_t c = 0; c < kChannels; ++c)
        sum[r * kChannels + c] += left[r * depth + k] * right[k * kChannels + c];
    }
  }
}

// A job whose states follow its latents, but for a part that lies along a few directions.
class CodecTrials : public testing::Test {
 protected:
  CodecTrials() {
    plan_.model_hash = "model";
    plan_.picture_tensor = "image";
    plan_.stages = {{.worker = {}, .begin = kCut, .end = 6}};
    plan_.auto_codec = std::make_shared<AutoCodec>();
    constants_.grid_height = constants_.grid_width = kSide;
    codec::testing::Dice dice(3);
    const std::vector<float> latents = normal(dice, kRows * kLatents, 1);
    const std::vector<float> map = normal(dice, kLatents * kChannels, 1);
    const std::vector<float> own = normal(dice, kRows * kOwn, 1);
    const std::vector<float> directions = normal(dice, kOwn * kChannels, 1);
    std::vector<float> state = normal(dice, kRows * kChannels, 0.1);
    add_product(latents, map, kLatents, state);
    add_product(own, directions, kOwn, state);
    request_.sigma = {1};
    request_.latents = Tensor::from_floats(latents, {1, kRows, kLatents});
    request_.state = {{"image", Tensor::from_floats(state, {1, kRows, kChannels})}};
  }
  ~CodecTrials() override { std::filesystem::remove_all(folder_); }

  // On a link that is so slow that everything is tried.
  codec::CodecTrial fidelity_trial(bool take_maps) const {
    const codec::StateStreams streams{.picture = "image", .picture_rows = kRows};
    const codec::CodecChoice choice = choose_by_trial({plan_, constants_, streams, {.take_maps = take_maps}},
                                                      request_, {.bytes_per_s = 1e5}, store_);
    for (const codec::CodecTrial& trial : choice.trials) {
      if (trial.profile.mode == codec::Mode::kFidelity) return trial;
    }
    return {};
  }

  // The bytes of the job's first frame, where the worker holds what was kept here.
  std::size_t frame_bytes(const codec::Profile& profile) const {
    auto sender = codec::StreamSender::create({.profile = profile,
                                               .calibration = nullptr,
                                               .place = kPlace,
                                               .known_bases = codec::basis_hashes(store_.load(kPlace)),
                                               .has_latent_rows = true},
                                              store_)
                      .value();
    const std::vector<float> latents = floats_of(request_.latents);
    const codec::StepContext context{.sigma = 1,
                                     .previous_sigma = {},
                                     .latents = latents,
                                     .previous_latents = {},
                                     .output_rows = kRows,
                                     .grid = {}};
    const codec::EncodedFrame encoded = sender.encode(request_.state[0].tensor, context).value();
    EXPECT_TRUE(encoded.basis.empty());
    return encoded.frame.size();
  }

  const codec::BasisPlace kPlace{"model", kCut, "image"};
  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("trials_" + std::to_string(getpid()));
  const codec::BasisStore store_{folder_};
  RemotePlan plan_;
  RemoteConstants constants_;
  StepRequest request_;
};

TEST_F(CodecTrials, MapsAreTriedWhereWorkersTakeThem) {
  const codec::CodecTrial without = fidelity_trial(false);
  ASSERT_GT(without.bytes, 0u) << without.why_not;
  EXPECT_TRUE(store_.load(kPlace, codec::AssetKind::kMap).empty());
  const codec::CodecTrial with = fidelity_trial(true);
  ASSERT_GT(with.bytes, 0u) << with.why_not;
  EXPECT_FALSE(store_.load(kPlace, codec::AssetKind::kMap).empty());
  EXPECT_LT(with.bytes, without.bytes * 8 / 10);
}

TEST_F(CodecTrials, WhatIsTriedIsWhatTheJobSends) {
  const codec::CodecTrial trial = fidelity_trial(true);
  EXPECT_FALSE(store_.load(kPlace, codec::AssetKind::kBasis).empty());
  EXPECT_EQ(trial.bytes, frame_bytes(trial.profile));
}

TEST_F(CodecTrials, TheJobCountsTheStateItself) {
  fidelity_trial(true);
  EXPECT_TRUE(store_.load(kPlace, codec::AssetKind::kLessons).empty());
}

}  // namespace
}  // namespace pinion::client
