// The codec on hidden states of a real model, step after step of real jobs (tests/data/states).

#include <gtest/gtest.h>

#include "pinion/base/safetensors.h"
#include "pinion/codec/codec.h"
#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kSteps = 4;
constexpr double kMostOverhead = 1.15;  // all bytes of a frame over the entropy of its indices

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

TEST(CapturedStates, LosslessSavesTwoSeventhsOfTheBytes) {
  std::size_t tensor_bytes = 0, frame_bytes = 0;
  for (const Sequence& sequence : sequences()) {
    const auto encoder = testing::encoder_of({.mode = Mode::kLossless});
    const auto decoder = Decoder::create();
    for (const Tensor& tensor : sequence.steps) {
      ASSERT_EQ(tensor.dtype(), DType::kBF16);
      const auto encoded = encoder->encode(tensor);
      ASSERT_TRUE(encoded.ok());
      const auto decoded = testing::decode_next(*decoder, *encoded);
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      EXPECT_TRUE(testing::same_tensor(tensor, *decoded)) << sequence.name;
      tensor_bytes += tensor.bytes();
      frame_bytes += encoded->frame.size();
    }
  }
  const double ratio = static_cast<double>(tensor_bytes) / static_cast<double>(frame_bytes);
  RecordProperty("ratio", std::to_string(ratio));
  EXPECT_GE(ratio, 1.40);
}

TEST(CapturedStates, FidelityMeetsItsTargetAndSpendsLittleBesidesIndices) {
  const Profile profile = parse_profile("cos:.995").value();
  for (const Sequence& sequence : sequences()) {
    const auto encoder = testing::encoder_of(profile);
    const auto decoder = Decoder::create();
    double later_bits = 0, later_ideal_bits = 0;
    for (std::size_t t = 0; t < kSteps; ++t) {
      SCOPED_TRACE(sequence.name + " step " + std::to_string(t));
      const Tensor& tensor = sequence.steps[t];
      const auto encoded = encoder->encode(tensor);
      ASSERT_TRUE(encoded.ok());
      const auto decoded = testing::decode_next(*decoder, *encoded);
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      const testing::Fidelity measured = testing::measure_again(tensor, *decoded);
      EXPECT_NEAR(measured.snr_db, profile.target_snr_db, 0.3);
      EXPECT_NEAR(measured.cosine, 0.995, 4e-4);
      EXPECT_NEAR(encoded->stats.snr_db, measured.snr_db, 1e-3);
      EXPECT_NEAR(encoded->stats.cosine, measured.cosine, 1e-6);
      if (t == 0) continue;
      later_bits += 8.0 * static_cast<double>(encoded->frame.size());
      later_ideal_bits += encoded->stats.ideal_index_bits;
    }
    RecordProperty("overhead of " + sequence.name, std::to_string(later_bits / later_ideal_bits));
    if (sequence.name.ends_with("image")) {
      EXPECT_LE(later_bits, kMostOverhead * later_ideal_bits) << sequence.name;
    }
  }
}

}  // namespace
}  // namespace pinion::codec
