// Mode fidelity on made tensors: the target is met, the figures are true, and streams behave when frames or
// bases are missing.

#include <gtest/gtest.h>

#include "pinion/codec/codec.h"
#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

using testing::decode_next;
using testing::encoder_of;
using testing::kGenerous;
using testing::low_rank;
using testing::low_rank_sequence;
using testing::LowRank;

constexpr double kSnrTolerance = 0.3;
// With few components the error jumps as classes change with the step.
constexpr double kFewComponentsTolerance = 0.6;

Profile fidelity(double snr_db) { return {.mode = Mode::kFidelity, .target_snr_db = snr_db}; }

// Encodes and decodes the stream's next tensor; what the encoder says of it must be what the test measures.
// Returns the frame and the measured fidelity.
struct Coded {
  EncodedFrame encoded;
  testing::Fidelity measured;
  Mode mode = Mode::kRaw;
};

Coded code_next(Encoder& encoder, Decoder& decoder, const Tensor& tensor) {
  auto encoded = encoder.encode(tensor);
  EXPECT_TRUE(encoded.ok());
  if (!encoded.ok()) return {};
  const auto decoded = decode_next(decoder, *encoded);
  if (!decoded.ok()) {
    ADD_FAILURE() << decoded.error().message();
    return {};
  }
  EXPECT_EQ(decoded->dtype(), tensor.dtype());
  EXPECT_EQ(decoded->shape(), tensor.shape());
  const FrameStats& stats = encoded->stats;
  const FrameInfo info = inspect(encoded->frame, kGenerous).value();
  testing::Fidelity measured = {std::numeric_limits<double>::infinity(), 1, 0};  // of exact modes
  if (info.mode == Mode::kFidelity) {
    measured = testing::measure_again(tensor, *decoded);
    EXPECT_NEAR(stats.snr_db, measured.snr_db, 1e-3);
    EXPECT_NEAR(stats.cosine, measured.cosine, 1e-6);
    EXPECT_NEAR(stats.max_error, measured.max_error, 1e-6 + 1e-5 * measured.max_error);
    EXPECT_GT(info.step_size, 0);
    EXPECT_GE(stats.ideal_index_bits, 0);
    EXPECT_LT(stats.ideal_index_bits, 8.0 * static_cast<double>(stats.frame_bytes));
  } else {
    EXPECT_TRUE(testing::same_tensor(tensor, *decoded));
  }
  EXPECT_EQ(stats.frame_bytes, encoded->frame.size());
  EXPECT_EQ(stats.basis_bytes, encoded->basis.size());
  EXPECT_EQ(stats.tensor_bytes, tensor.bytes());
  EXPECT_EQ(stats.elements, tensor.elements());
  EXPECT_EQ(stats.key_frame, info.key_frame);
  if (!encoded->basis.empty()) {
    EXPECT_EQ(info.basis_hash, basis_hash(encoded->basis));
  }
  return {std::move(*encoded), measured, info.mode};
}

TEST(Fidelity, MeetsItsTargetOnLowRankTensors) {
  const LowRank forms[] = {{.rows = 256, .channels = 128, .rank = 12, .noise = 0.02, .seed = 1},
                           {.rows = 200, .channels = 96, .rank = 3, .noise = 0.3, .seed = 2},
                           {.rows = 61, .channels = 33, .rank = 5, .noise = 0.1, .seed = 3},
                           {.rows = 128, .channels = 256, .rank = 40, .noise = 0, .seed = 4},
                           {.rows = 500, .channels = 7, .rank = 2, .noise = 0.05, .seed = 5}};
  for (const LowRank& form : forms) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      for (const double target : {12.0, 20.0, 27.5}) {
        SCOPED_TRACE(std::string(name(dtype)) + ", form " + std::to_string(form.seed) + ", " +
                     std::to_string(target) + " dB");
        const auto decoder = Decoder::create();
        const Coded coded = code_next(*encoder_of(fidelity(target)), *decoder, low_rank(dtype, form));
        EXPECT_EQ(coded.mode, Mode::kFidelity);
        EXPECT_NEAR(coded.measured.snr_db, target, kSnrTolerance);
        EXPECT_LT(coded.encoded.frame.size() + coded.encoded.basis.size(), coded.encoded.stats.tensor_bytes);
      }
    }
  }
}

TEST(Fidelity, MeetsItsTargetInEveryFrameOfAStream) {
  for (const double kept : {0.0, 0.7, 0.99}) {
    SCOPED_TRACE(kept);
    const auto encoder = encoder_of(fidelity(20));
    const auto decoder = Decoder::create();
    std::size_t predicted = 0;
    for (const Tensor& tensor : low_rank_sequence(DType::kBF16, 5, {.kept = kept, .seed = 6})) {
      const Coded coded = code_next(*encoder, *decoder, tensor);
      EXPECT_EQ(coded.mode, Mode::kFidelity);
      EXPECT_NEAR(coded.measured.snr_db, 20, kSnrTolerance);
      predicted += !coded.encoded.stats.key_frame;
    }
    EXPECT_GE(predicted, 3u);
  }
}

TEST(Fidelity, MeetsItsTargetWithABasis) {
  const LowRank form = {.rows = 400, .channels = 160, .rank = 10, .noise = 0.01, .seed = 25};
  for (const double target : {10.0, 20.0, 26.0}) {
    SCOPED_TRACE(target);
    const auto encoder = encoder_of(fidelity(target));
    const auto decoder = Decoder::create();
    ASSERT_TRUE(encoder->offer_basis(testing::basis_of(form)).ok());
    for (const Tensor& tensor : low_rank_sequence(DType::kBF16, 4, form)) {
      const Coded coded = code_next(*encoder, *decoder, tensor);
      EXPECT_NEAR(coded.measured.snr_db, target, kFewComponentsTolerance);
      EXPECT_LT(coded.encoded.frame.size() * 8, coded.encoded.stats.tensor_bytes) << "the basis is of no use";
    }
  }
}

TEST(Fidelity, PredictionMakesFramesOfASlowStreamSmall) {
  const auto encoder = encoder_of(fidelity(20));
  const auto decoder = Decoder::create();
  std::vector<std::size_t> sizes;
  for (const Tensor& tensor : low_rank_sequence(DType::kBF16, 4, {.noise = 0.002, .kept = 0.999, .seed = 7}))
    sizes.push_back(code_next(*encoder, *decoder, tensor).encoded.frame.size());
  EXPECT_LT(sizes[3], sizes[0] * 6 / 10);
}

TEST(Fidelity, HigherTargetsCostMore) {
  const Tensor tensor = low_rank(DType::kF32, {.seed = 8});
  std::size_t last = 0;
  for (const double target : {8.0, 16.0, 24.0, 32.0}) {
    const auto decoder = Decoder::create();
    const Coded coded = code_next(*encoder_of(fidelity(target)), *decoder, tensor);
    const std::size_t bytes = coded.encoded.frame.size() + coded.encoded.basis.size();
    EXPECT_GT(bytes, last);
    last = bytes;
  }
}

TEST(Fidelity, SameInputSameBytes) {
  const auto sequence = low_rank_sequence(DType::kBF16, 3, {.seed = 9});
  const auto one = encoder_of(fidelity(20)), other = encoder_of(fidelity(20));
  for (const Tensor& tensor : sequence) {
    const auto a = one->encode(tensor), b = other->encode(tensor);
    ASSERT_TRUE(a.ok() && b.ok());
    EXPECT_EQ(a->frame, b->frame);
    EXPECT_EQ(a->basis, b->basis);
  }
}

TEST(Fidelity, AnyShapeIsAtLeastAsGoodAsAsked) {
  const std::vector<Shape> shapes = {{},      {0},         {1},       {7},     {0, 5},      {5, 0},
                                     {1, 1},  {1, 16384},  {17, 1},   {2, 3},  {3, 129},    {2, 3, 5, 8},
                                     {16, 8}, {40, 16384}, {3000, 1}, {15, 9}, {2, 33, 65}, {1, 64, 2}};
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const Shape& shape : shapes) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + to_string(shape));
      testing::Dice dice(15);
      std::vector<float> values(static_cast<std::size_t>(shape.elements()));
      for (float& value : values) value = static_cast<float>(3 + dice.normal());
      const Tensor tensor = testing::tensor_of(dtype, shape, values);
      const auto encoder = encoder_of(fidelity(15));
      const auto decoder = Decoder::create();
      for (int step = 0; step < (tensor.elements() > 100'000 ? 1 : 2); ++step) {
        const Coded coded = code_next(*encoder, *decoder, tensor);
        // The error of a handful of values is no smooth function of the step.
        if (coded.mode == Mode::kFidelity && tensor.elements() > 20) {
          EXPECT_GE(coded.measured.snr_db, 15 - kSnrTolerance);
        }
      }
    }
  }
}

TEST(Fidelity, TensorsWithNothingInThem) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const std::byte value : {std::byte{0}, std::byte{0x3c}}) {
      const auto decoder = Decoder::create();
      const Tensor tensor = testing::filled(dtype, {300, 512}, value);
      const Coded coded = code_next(*encoder_of(fidelity(20)), *decoder, tensor);
      EXPECT_LT(coded.encoded.frame.size() + coded.encoded.basis.size(), 64u);
    }
  }
}

TEST(Fidelity, OneHugeOutlier) {
  for (const float outlier : {100.0f, 60000.0f}) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + std::to_string(outlier));
      testing::Dice dice(16);
      std::vector<float> values(256 * 64);
      for (float& value : values) value = static_cast<float>(dice.normal());
      values[777] = outlier;
      const auto decoder = Decoder::create();
      const Coded coded =
          code_next(*encoder_of(fidelity(20)), *decoder, testing::tensor_of(dtype, {256, 64}, values));
      // One value has nearly all the energy, so its own rounding decides.
      EXPECT_GE(coded.measured.snr_db, 19);
    }
  }
}

TEST(Fidelity, ExtremeMagnitudes) {
  for (const double scale : {1e-30, 1e-6, 1e6, 1e30}) {
    SCOPED_TRACE(scale);
    testing::Dice dice(17);
    std::vector<float> values(128 * 32);
    for (float& value : values) value = static_cast<float>(scale * dice.normal());
    const auto decoder = Decoder::create();
    const Coded coded =
        code_next(*encoder_of(fidelity(20)), *decoder, testing::tensor_of(DType::kF32, {128, 32}, values));
    EXPECT_GE(coded.measured.snr_db, 20 - kSnrTolerance);
  }
}

TEST(Fidelity, RefusesWhatHasNoSize) {
  const auto sequence = low_rank_sequence(DType::kF32, 2, {.seed = 18});
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      const auto encoder = encoder_of(fidelity(20));
      const auto decoder = Decoder::create();
      code_next(*encoder, *decoder, sequence[0]);
      std::vector<float> values(256 * 128, 1.0f);
      values[4321] = bad;
      const auto refused = encoder->encode(testing::tensor_of(dtype, {256, 128}, values));
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
      EXPECT_NE(refused.error().text.find("NaN or infinity"), std::string::npos);
      EXPECT_NE(refused.error().hint.find("lossless"), std::string::npos);
      // The stream goes on as if nothing had been asked.
      EXPECT_FALSE(code_next(*encoder, *decoder, sequence[1]).encoded.stats.key_frame);
    }
  }
}

TEST(Fidelity, OtherTypesStayExact) {
  for (const DType dtype : {DType::kF8E4M3, DType::kF8E5M2, DType::kF64, DType::kI64, DType::kBool}) {
    const auto decoder = Decoder::create();
    const Tensor tensor = testing::random_bits(dtype, {40, 50}, 19);
    EXPECT_NE(code_next(*encoder_of(fidelity(20)), *decoder, tensor).mode, Mode::kFidelity) << name(dtype);
  }
}

TEST(Fidelity, LimitsOfTheReceiverHold) {
  const Tensor tensor = low_rank(DType::kBF16, {.seed = 20});
  const auto encoded = encoder_of(fidelity(20))->encode(tensor);
  ASSERT_TRUE(encoded.ok());
  const auto code_under = [&](const DecodeLimits& limits) {
    const auto decoder = Decoder::create();
    const auto decoded = decode_next(*decoder, *encoded, limits);
    return decoded.ok() ? "fits" : name(decoded.error().code);
  };
  EXPECT_EQ(code_under({.max_tensor_bytes = tensor.bytes(), .max_channels = 128}), "fits");
  EXPECT_EQ(code_under({.max_tensor_bytes = tensor.bytes() - 1}), "too_large");
  EXPECT_EQ(code_under({.max_tensor_bytes = tensor.bytes(), .max_channels = 127}), "too_large");
}

TEST(FidelityTarget, OutsideItsRangeIsRefused) {
  for (const double target : {0.0, -3.0, 100.5, std::numeric_limits<double>::quiet_NaN(),
                              std::numeric_limits<double>::infinity()}) {
    const auto encoder = Encoder::create(fidelity(target));
    ASSERT_FALSE(encoder.ok()) << target;
    EXPECT_EQ(encoder.error().code, Errc::kInvalidArgument);
  }
}

TEST(FidelityTarget, ReadsAndWritesProfiles) {
  EXPECT_EQ(parse_profile("raw")->mode, Mode::kRaw);
  EXPECT_EQ(parse_profile("lossless")->mode, Mode::kLossless);
  EXPECT_EQ(parse_profile("fidelity:27.5")->target_snr_db, 27.5);
  // -10 log10(1 - 0.995^2)
  EXPECT_NEAR(parse_profile("fidelity:cos:.995")->target_snr_db, 20.0109, 1e-3);
  EXPECT_NEAR(parse_profile("cos:.995")->target_snr_db, 20.0109, 1e-3);
  for (const std::string_view text : {"raw", "lossless", "fidelity:27.5"}) {
    const auto again = parse_profile(to_string(parse_profile(text).value()));
    ASSERT_TRUE(again.ok()) << text;
    EXPECT_EQ(again->mode, parse_profile(text)->mode);
    EXPECT_EQ(again->target_snr_db, parse_profile(text)->target_snr_db);
  }
  EXPECT_EQ(parse_profile("calibrated:64kB")->budget_bytes, 64'000u);
  EXPECT_EQ(parse_profile("calibrated:1.5kB")->budget_bytes, 1500u);
  EXPECT_EQ(parse_profile("calibrated:30")->budget_bytes, 0u);
  for (const std::string_view text : {"calibrated:64kB", "calibrated:1500B", "calibrated:2MB"}) {
    EXPECT_EQ(to_string(parse_profile(text).value()), text);
  }
  for (const std::string_view text : {"calibrated:kB",
                                      "calibrated:0kB",
                                      "calibrated:-1kB",
                                      "calibrated:.1B",
                                      "calibrated:2000MB",
                                      "calibrated:5KB",
                                      "fidelity:64kB",
                                      "",
                                      "Raw",
                                      "fidelity:",
                                      "fidelity:x",
                                      "fidelity:20x",
                                      "fidelity:-1",
                                      "fidelity:nan",
                                      "cos:",
                                      "cos:1",
                                      "cos:0",
                                      "cos:1.5",
                                      "cos:-.9",
                                      "lossless:3"}) {
    const auto profile = parse_profile(text);
    ASSERT_FALSE(profile.ok()) << text;
    EXPECT_EQ(profile.error().code, Errc::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace pinion::codec
