// The basis that an encoder learns: where it pays it is computed, sent once and kept; elsewhere there is
// none.

#include <gtest/gtest.h>

#include "pinion/codec/codec.h"
#include "pinion/codec/codec_testing.h"
#include "pinion/codec/fidelity/basis_choice.h"

namespace pinion::codec {
namespace {

constexpr double kTarget = 20;
constexpr std::size_t kSteps = 4;
const Profile kProfile = {.mode = Mode::kFidelity, .target_snr_db = kTarget};

// States of a wide model: 1024 channels that lie near 64 directions.
std::vector<Tensor> wide_states() {
  return testing::low_rank_sequence(
      DType::kBF16, kSteps,
      {.rows = 512, .channels = 1024, .rank = 64, .noise = 0.002, .kept = 0.8, .fall = 0, .seed = 31});
}

// What a tensor takes as a key frame without any basis.
std::size_t plain_bytes(const Tensor& tensor) {
  FidelityWorkspace workspace;
  ChunkPool alone;
  CentredTensor centred;
  centre(tensor, alone, centred).value();
  const Projection channels{centred.transposed, {}, 0};
  const ComponentSample sample = sample_components(channels, {}, alone);
  const TensorView view = tensor;
  return encode_fidelity({.tensor = view,
                          .centred = centred,
                          .projection = channels,
                          .sample = sample,
                          .prediction = {},
                          .target_error = centred.energy * std::pow(10, -kTarget / 10)},
                         workspace, alone)
      ->frame.size();
}

struct Job {
  std::size_t frame_bytes = 0;
  std::size_t basis_bytes = 0;
  std::size_t bases_sent = 0;
  Bytes basis;  // that it sent
  std::string last_hash;
};

Job run(Encoder& encoder, Decoder& decoder, const std::vector<Tensor>& steps) {
  Job job;
  for (const Tensor& tensor : steps) {
    const EncodedFrame encoded = encoder.encode(tensor).value();
    const auto decoded = testing::decode_next(decoder, encoded);
    EXPECT_TRUE(decoded.ok());
    EXPECT_NEAR(testing::measure_again(tensor, *decoded).snr_db, kTarget, 0.3);
    EXPECT_NEAR(encoded.stats.snr_db, testing::measure_again(tensor, *decoded).snr_db, 1e-3);
    job.frame_bytes += encoded.frame.size();
    job.basis_bytes += encoded.basis.size();
    job.bases_sent += !encoded.basis.empty();
    if (!encoded.basis.empty()) job.basis = encoded.basis;
    job.last_hash = inspect(encoded.frame, testing::kGenerous)->basis_hash;
  }
  return job;
}

TEST(LearnedBasis, PaysOnWideStatesOfLowRank) {
  const auto steps = wide_states();
  std::size_t plain = 0;
  for (const Tensor& tensor : steps) plain += plain_bytes(tensor);
  const auto decoder = Decoder::create();
  const auto first = testing::encoder_of(kProfile);
  const Job one = run(*first, *decoder, steps);
  EXPECT_EQ(one.bases_sent, 1u) << "learned at once, sent once, kept";
  EXPECT_EQ(one.last_hash, basis_hash(one.basis));
  RecordProperty("plain key frames, bytes", std::to_string(plain));
  RecordProperty("frames, bytes", std::to_string(one.frame_bytes));
  RecordProperty("basis, bytes", std::to_string(one.basis_bytes));
  EXPECT_LT(3 * (one.frame_bytes + one.basis_bytes), plain) << "within one job";
  EXPECT_LT(8 * (10 * one.frame_bytes + one.basis_bytes), 10 * plain) << "over ten jobs";

  // The next job starts with it, and nothing is sent or computed again.
  const auto second = testing::encoder_of(kProfile);
  ASSERT_TRUE(second->offer_basis(one.basis).ok());
  second->assume_known_basis(basis_hash(one.basis));
  const Job two = run(*second, *decoder, steps);
  EXPECT_EQ(two.bases_sent, 0u);
  EXPECT_EQ(two.last_hash, one.last_hash);
  EXPECT_LE(two.frame_bytes, one.frame_bytes * 102 / 100);
}

TEST(LearnedBasis, IsNotLearnedWhereChannelsAreIndependent) {
  testing::Dice dice(32);
  for (const Shape& shape : {Shape{256, 256}, Shape{64, 512}, Shape{1024, 64}}) {
    std::vector<float> values(static_cast<std::size_t>(shape.elements()));
    for (float& value : values) value = static_cast<float>(dice.normal());
    const auto decoder = Decoder::create();
    const Job job =
        run(*testing::encoder_of(kProfile), *decoder, {testing::tensor_of(DType::kBF16, shape, values)});
    EXPECT_EQ(job.bases_sent, 0u) << to_string(shape);
  }
}

TEST(LearnedBasis, IsNotLearnedFromFewRows) {
  const auto steps =
      testing::low_rank_sequence(DType::kBF16, 2, {.rows = 15, .channels = 256, .rank = 4, .seed = 33});
  const auto decoder = Decoder::create();
  EXPECT_EQ(run(*testing::encoder_of(kProfile), *decoder, steps).bases_sent, 0u);
}

// A map and a basis are both kept from an earlier job, and the receiver holds neither: the map comes first.
TEST(LearnedBasis, AKeptOneOutlivesAFrameThatMayHaveNone) {
  const std::vector<Tensor> steps = wide_states();
  ChunkPool alone;
  BasisChooser first(alone), next(alone);
  const auto encode = [&](BasisChooser& chooser, const Tensor& tensor, BasisUse use) {
    CentredTensor centred;
    centre(tensor, alone, centred).value();
    ChosenFrame chosen = chooser.encode(tensor, centred, kTarget, use).value();
    const auto fit = chosen.fit;
    chooser.commit(std::move(chosen));
    return fit;
  };
  const auto learned = encode(first, steps[0], BasisUse::kAny);
  ASSERT_NE(learned, nullptr);
  ASSERT_TRUE(next.offer(learned->asset).ok());
  EXPECT_EQ(encode(next, steps[0], BasisUse::kNone), nullptr);
  ASSERT_NE(next.current(), nullptr);
  next.forget_state();
  const auto used = encode(next, steps[1], BasisUse::kAny);
  ASSERT_NE(used, nullptr);
  EXPECT_EQ(used->asset, learned->asset);
}

TEST(LearnedBasis, IsTheSameEachTime) {
  const Tensor tensor = wide_states().front();
  const EncodedFrame one = testing::encoder_of(kProfile)->encode(tensor).value();
  const EncodedFrame other = testing::encoder_of(kProfile)->encode(tensor).value();
  ASSERT_FALSE(one.basis.empty());
  EXPECT_EQ(one.basis, other.basis);
  EXPECT_EQ(one.frame, other.frame);
}

}  // namespace
}  // namespace pinion::codec
