// The codec on hidden states of a real model, step after step of real jobs (tests/data/states).

#include <gtest/gtest.h>

#include <map>

#include "pinion/base/safetensors.h"
#include "pinion/codec/codec.h"
#include "pinion/codec/codec_testing.h"
#include "pinion/codec/fidelity/fidelity_encoder.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kSteps = 4;
constexpr double kMostOverhead = 1.10;  // all bytes of a stream's frames over the entropy of their indices

struct Sequence {
  std::string name;
  std::vector<Tensor> steps;
};

std::vector<Sequence> sequences() {
  const std::filesystem::path folder = std::filesystem::path(PINION_SOURCE_DIR) / "tests/data/states";
  std::vector<Sequence> all;
  const auto read = [&](const char* file, std::initializer_list<const char*> names) {
    const auto states = SafetensorsFile::open(folder / file).value();
    for (const std::string name : names) {
      Sequence sequence{std::string(file) + " " + name, {}};
      for (std::size_t t = 0; t < kSteps; ++t)
        sequence.steps.push_back(states.tensor(name + ".t" + std::to_string(t)).value());
      all.push_back(std::move(sequence));
    }
  };
  read("dots_and_star.safetensors",
       {"cut1.image", "cut3.image", "cut5.image", "cut1.text", "cut3.text", "cut5.text"});
  read("three_on_speckles.safetensors", {"cut3.image"});
  return all;
}

// Raw bytes over those of the frames, which are decoded and compared.
double lossless_ratio(bool key_frames_only) {
  std::size_t tensor_bytes = 0, frame_bytes = 0;
  for (const Sequence& sequence : sequences()) {
    const auto encoder = testing::encoder_of({.mode = Mode::kLossless});
    const auto decoder = Decoder::create();
    for (const Tensor& tensor : sequence.steps) {
      if (key_frames_only) encoder->restart();
      EXPECT_EQ(tensor.dtype(), DType::kBF16);
      const EncodedFrame encoded = encoder->encode(tensor).value();
      const auto decoded = testing::decode_next(*decoder, encoded);
      EXPECT_TRUE(decoded.ok() && testing::same_tensor(tensor, *decoded)) << sequence.name;
      tensor_bytes += tensor.bytes();
      frame_bytes += encoded.frame.size();
    }
  }
  return static_cast<double>(tensor_bytes) / static_cast<double>(frame_bytes);
}

TEST(CapturedStates, LosslessSavesAThirdOfTheBytesAndMoreFromStepToStep) {
  const double alone = lossless_ratio(true);
  const double predicted = lossless_ratio(false);
  RecordProperty("ratio of key frames", std::to_string(alone));
  RecordProperty("ratio", std::to_string(predicted));
  EXPECT_GE(alone, 1.6);
  EXPECT_GE(predicted, 1.84);
}

TEST(CapturedStates, FidelityMeetsItsTargetAndSpendsLittleBesidesIndices) {
  const Profile profile = parse_profile("cos:.995").value();
  for (const Sequence& sequence : sequences()) {
    const auto encoder = testing::encoder_of(profile);
    const auto decoder = Decoder::create();
    double bits = 0, ideal_bits = 0;
    for (std::size_t t = 0; t < kSteps; ++t) {
      SCOPED_TRACE(sequence.name + " step " + std::to_string(t));
      const Tensor& tensor = sequence.steps[t];
      const auto encoded = encoder->encode(tensor);
      ASSERT_TRUE(encoded.ok());
      const auto decoded = testing::decode_next(*decoder, *encoded);
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      const testing::Fidelity measured = testing::measure_again(tensor, *decoded);
      EXPECT_NEAR(measured.snr_db, profile.target_snr_db, 0.1);
      EXPECT_GE(measured.cosine, 0.995 - 5e-5);
      EXPECT_LE(measured.cosine, 0.9953);
      EXPECT_NEAR(encoded->stats.snr_db, measured.snr_db, 1e-3);
      EXPECT_NEAR(encoded->stats.cosine, measured.cosine, 1e-6);
      bits += 8.0 * static_cast<double>(encoded->frame.size());
      ideal_bits += encoded->stats.ideal_index_bits;
    }
    RecordProperty("overhead of " + sequence.name, std::to_string(bits / ideal_bits));
    EXPECT_LE(bits, kMostOverhead * ideal_bits) << sequence.name;
  }
}

// The text is padded to many rows that are nearly alike: they must cost next to nothing, whether by their
// centre or by a basis.
TEST(CapturedStates, FirstStepsOfTextAreSmallerThanPlanes) {
  // Bits an element of 8-bit planes through x265 at the same cosine (docs/benchmarks.md).
  const std::map<std::string, double> planes = {
      {"cut1.text", 1.511}, {"cut3.text", 1.391}, {"cut5.text", 1.397}};
  for (const Sequence& sequence : sequences()) {
    if (!sequence.name.ends_with("text")) continue;
    const Tensor& tensor = sequence.steps.front();
    const auto encoded = testing::encoder_of(parse_profile("cos:.995").value())->encode(tensor);
    ASSERT_TRUE(encoded.ok());
    const double bits = 8.0 * static_cast<double>(encoded->frame.size() + encoded->basis.size()) /
                        static_cast<double>(tensor.elements());
    RecordProperty("bits of " + sequence.name, std::to_string(bits));
    EXPECT_LT(bits, planes.at(sequence.name.substr(sequence.name.size() - 9))) << sequence.name;
  }
}

TEST(CapturedStates, OneCorrectionIsEnough) {
  const double target_db = parse_profile("cos:.995")->target_snr_db;
  for (const Sequence& sequence : sequences()) {
    FidelityWorkspace workspace;
    ChunkPool alone;
    StreamState state;
    std::array<double, kMaxReferences> steps{};
    for (std::size_t t = 0; t < kSteps; ++t) {
      const TensorView tensor = sequence.steps[t];
      CentredTensor centred;
      centre(tensor, alone, centred).value();
      const Projection channels{centred.transposed, {}, 0};
      const Prediction prediction = t == 0 ? Prediction{} : Prediction{&state, steps};
      const ComponentSample sample = sample_components(channels, prediction, alone);
      auto coded = encode_fidelity({.tensor = tensor,
                                    .centred = centred,
                                    .projection = channels,
                                    .sample = sample,
                                    .prediction = prediction,
                                    .target_error = centred.energy * std::pow(10, -target_db / 10)},
                                   workspace, alone);
      ASSERT_TRUE(coded);
      EXPECT_LE(coded->passes, 2) << sequence.name << " step " << t;
      EXPECT_NEAR(coded->stats.snr_db, target_db, 0.1) << sequence.name << " step " << t;
      state = std::move(coded->state);
      steps = {coded->step, steps[0]};
    }
  }
}

TEST(CapturedStates, NoBasisWhereItDoesNotPay) {
  for (const Sequence& sequence : sequences()) {
    if (!sequence.name.ends_with("image")) continue;
    const auto encoder = testing::encoder_of(parse_profile("cos:.995").value());
    for (const Tensor& tensor : sequence.steps)
      EXPECT_TRUE(encoder->encode(tensor)->basis.empty()) << sequence.name;
  }
}

}  // namespace
}  // namespace pinion::codec
