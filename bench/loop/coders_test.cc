// The coders that closed_loop compares: what arrives is as near as the coder says, and every byte is counted.

#include <gmock/gmock.h>

#include <cmath>

#include "bench/loop/byte_packers.h"
#include "bench/loop/coder_list.h"
#include "bench/loop/planes_coder.h"
#include "bench/loop/range_symbols.h"
#include "bench/loop/uniform_coder.h"
#include "pinion/codec/codec_testing.h"

// x265 leaks a few kilobytes for each encoder (pinion/codec/video/x265_video_codec_test.cc).
extern "C" const char* __lsan_default_suppressions() { return "leak:libx265"; }

namespace pinion::bench {
namespace {

using codec::testing::Dice;
using testing::ElementsAre;

constexpr std::int64_t kRows = 48, kChannels = 20;

// [2, kRows, kChannels]: normal values, channel c with deviation and mean c + 1.
Tensor made_tensor(std::uint32_t seed) {
  Dice dice(seed);
  std::vector<float> values(2 * kRows * kChannels);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto scale = static_cast<double>(i % kChannels + 1);
    values[i] = static_cast<float>(scale * (1 + dice.normal()));
  }
  return Tensor::from_floats(values, {2, kRows, kChannels});
}

StreamPlace image_place() { return {3, "image", {6, 8}}; }

double snr_db(const Tensor& exact, const Tensor& other) {
  const std::vector<float> a = floats_of(exact), b = floats_of(other);
  double signal = 0, noise = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    signal += a[i] * a[i];
    noise += (a[i] - b[i]) * (a[i] - b[i]);
  }
  return 10 * std::log10(signal / noise);
}

codec::Matrix made_matrix(std::size_t channels, std::size_t rows) {
  codec::Matrix values(channels, rows);
  Dice dice(1);
  for (float& value : values.values) value = static_cast<float>(100 * dice.normal() - 30);
  return values;
}

TEST(RangeSymbols, EveryValueWithinHalfAStep) {
  const codec::Matrix values = made_matrix(5, 300);
  const std::vector<std::uint8_t> bits{1, 4, 8, 9, 16};
  const Bytes symbols = to_symbols(values, bits);
  EXPECT_EQ(symbols.size(), 5 * 4 + 300 * (3 + 2 * 2));
  EXPECT_EQ(symbols.size(), symbol_bytes(bits, 300));
  const auto back = from_symbols(symbols, bits, 300);
  ASSERT_TRUE(back.ok());
  for (std::size_t c = 0; c < bits.size(); ++c) {
    const auto [low, high] = std::minmax_element(values.row(c).begin(), values.row(c).end());
    // The range itself is a pair of bfloat16, widened by up to a 128th of its ends.
    const double widest = (*high - *low) + (std::abs(*low) + std::abs(*high)) / 64;
    const double step = widest / ((1 << bits[c]) - 1);
    double worst = 0;
    for (std::size_t r = 0; r < 300; ++r) {
      worst = std::max(worst, std::abs(static_cast<double>(values.row(c)[r]) - back->row(c)[r]));
    }
    EXPECT_LE(worst, step / 2 * 1.001 + 1e-5) << "channel " << c;
    EXPECT_GE(worst, step / 2 * 0.5) << "channel " << c;
  }
}

TEST(RangeSymbols, LeavesChannelsOut) {
  const codec::Matrix values = made_matrix(3, 10);
  const std::vector<std::uint8_t> bits{0, 8, 0};
  const Bytes symbols = to_symbols(values, bits);
  EXPECT_EQ(symbols.size(), 4u + 10u);
  const auto back = from_symbols(symbols, bits, 10);
  ASSERT_TRUE(back.ok());
  EXPECT_THAT(back->row(0), testing::Each(0));
  EXPECT_THAT(back->row(2), testing::Each(0));
}

TEST(RangeSymbols, ConstantChannelIsExactInBfloat16) {
  codec::Matrix values(1, 7);
  std::fill(values.values.begin(), values.values.end(), -2.5f);
  const std::vector<std::uint8_t> bits{3};
  const auto back = from_symbols(to_symbols(values, bits), bits, 7);
  ASSERT_TRUE(back.ok());
  EXPECT_THAT(back->row(0), testing::Each(-2.5f));
}

TEST(RangeSymbols, RefusesBytesThatDoNotAddUp) {
  const codec::Matrix values = made_matrix(2, 10);
  const std::vector<std::uint8_t> bits{8, 9};
  Bytes symbols = to_symbols(values, bits);
  symbols.pop_back();
  EXPECT_FALSE(from_symbols(symbols, bits, 10).ok());
}

TEST(BytePackers, ThereAndBack) {
  Bytes bytes(5000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * i % 7);
  const auto zstd = zstd_pack(bytes);
  const auto deflate = deflate_pack(bytes);
  ASSERT_TRUE(zstd.ok() && deflate.ok());
  EXPECT_LT(zstd->size(), 100u);
  EXPECT_LT(deflate->size(), 200u);
  EXPECT_EQ(*zstd_unpack(*zstd, bytes.size()), bytes);
  EXPECT_EQ(*deflate_unpack(*deflate, bytes.size()), bytes);
  EXPECT_FALSE(zstd_unpack(*zstd, bytes.size() - 1).ok());
  EXPECT_FALSE(deflate_unpack(*deflate, bytes.size() - 1).ok());
}

TEST(UniformCoder, MoreBitsMoreBytesSixDecibelEach) {
  const Tensor tensor = made_tensor(3);
  double snr_before = 0, bytes_before = 0;
  for (const int bits : {4, 5, 6, 7}) {
    const auto coder = make_uniform_coder(bits);
    ASSERT_TRUE(coder.ok());
    const auto passed = (*(*coder)->open(image_place()))->pass(tensor, {});
    ASSERT_TRUE(passed.ok());
    const double snr = snr_db(tensor, passed->received);
    EXPECT_GT(passed->frame_bytes, bytes_before);
    if (snr_before > 0) {
      EXPECT_NEAR(snr - snr_before, 6.0, 1.0);
    }
    snr_before = snr;
    bytes_before = passed->frame_bytes;
    // Never more than the symbols, their ranges and what zstd wraps them in.
    EXPECT_LE(passed->frame_bytes, static_cast<double>(tensor.elements() + 4 * kChannels + 32));
  }
  EXPECT_FALSE(make_uniform_coder(0).ok());
  EXPECT_FALSE(make_uniform_coder(17).ok());
}

TEST(UniformCoder, VelocityReturnsAsTwoBytesAnElement) {
  const auto coder = make_uniform_coder(4);
  const Tensor tensor = made_tensor(3);
  const auto passed = (*(*coder)->open({3, "velocity", {6, 8}}))->pass(tensor, {});
  ASSERT_TRUE(passed.ok());
  EXPECT_EQ(passed->frame_bytes, 2.0 * static_cast<double>(tensor.elements()));
  EXPECT_EQ(floats_of(passed->received), floats_of(tensor));
}

TEST(PcaCoder, AllocatesWhereTheErrorFallsMost) {
  const std::vector<double> variances{1000, 10, 10, 0.001, 0};
  const std::vector<std::uint8_t> bits = allocate_bits(variances, 3);
  EXPECT_THAT(bits, ElementsAre(7, 4, 4, 0, 0));
  EXPECT_THAT(allocate_bits(variances, 16), ElementsAre(16, 16, 16, 16, 0));
  // Too little for the first grant of three.
  EXPECT_THAT(allocate_bits(variances, 0.4), ElementsAre(0, 0, 0, 0, 0));
}

// The channels themselves as components, the largest first.
PcaBases channel_bases() {
  PcaBasis basis{std::vector<float>(kChannels), codec::Matrix(kChannels, kChannels), {}};
  for (std::size_t k = 0; k < kChannels; ++k) {
    const std::size_t channel = kChannels - 1 - k;
    const auto scale = static_cast<double>(channel + 1);
    basis.mean[channel] = static_cast<float>(scale);
    basis.directions.row(k)[channel] = 1;
    basis.variances.push_back(scale * scale);
  }
  return {{{3, "image"}, std::move(basis)}};
}

TEST(PcaCoder, ReachesItsBitsAndCountsItsBasis) {
  const PcaBases bases = channel_bases();
  const Tensor tensor = made_tensor(4);
  const auto coder = make_pca_coder(bases, 8);
  ASSERT_TRUE(coder.ok());
  const auto passed = (*(*coder)->open(image_place()))->pass(tensor, {});
  ASSERT_TRUE(passed.ok());
  // Eight bits a component over five to six deviations, 20 log10(255 sqrt 12 / 5.5) = 44.1 dB; 3.0 for the
  // means and 3.2 for giving more bits to larger components (arithmetic over geometric mean of the
  // variances).
  EXPECT_NEAR(snr_db(tensor, passed->received), 50.3, 1.5);
  EXPECT_LE(passed->frame_bytes, static_cast<double>(2 * tensor.elements()));
  EXPECT_EQ((*coder)->asset_bytes(image_place()), 2 * kChannels * (kChannels + 1) + kChannels);
  EXPECT_FALSE((*coder)->open({4, "image", {6, 8}}).ok());
}

TEST(PlanesCoder, OneRunIsStatesBothWays) {
  const auto coder = make_planes_coder(4);
  if (!coder.ok()) {
    EXPECT_EQ(coder.error().code, Errc::kUnsupported);
    GTEST_SKIP() << coder.error().message();
  }
  EXPECT_EQ((*coder)->return_path(), ReturnPath::kStates);
  const Tensor tensor = made_tensor(5);
  const auto image = (*(*coder)->open(image_place()))->pass(tensor, {});
  ASSERT_TRUE(image.ok()) << image.error().message();
  EXPECT_EQ(image->received.shape(), tensor.shape());
  EXPECT_GT(snr_db(tensor, image->received), 30);
  EXPECT_GT(image->frame_bytes, 1000);
  const auto text = (*(*coder)->open({3, "text", {}}))->pass(tensor, {});
  EXPECT_EQ(text->frame_bytes, 2.0 * static_cast<double>(tensor.elements()));
}

TEST(PinionCoder, SendsAsTheProductDoes) {
  const Tensor tensor = made_tensor(6);
  const auto coder = make_pinion_coder({codec::Mode::kFidelity, 20}, {});
  ASSERT_TRUE(coder.ok());
  const auto image = (*(*coder)->open(image_place()))->pass(tensor, {});
  ASSERT_TRUE(image.ok());
  EXPECT_GT(image->index_bits, 0);
  const auto velocity = (*(*coder)->open({3, "velocity", {6, 8}}))->pass(tensor, {});
  ASSERT_TRUE(velocity.ok());
  EXPECT_EQ(velocity->received.dtype(), DType::kF16);
  EXPECT_GT(snr_db(tensor, velocity->received), 31);
  const auto lossless = make_pinion_coder({codec::Mode::kLossless, 0}, {});
  const auto exact = (*(*lossless)->open(image_place()))->pass(tensor, {});
  EXPECT_EQ(floats_of(exact->received), floats_of(tensor));
  EXPECT_FALSE(make_pinion_coder({codec::Mode::kCalibrated, 30}, {}).ok());
}

TEST(CoderList, NamesAndLadders) {
  const auto coders = make_coders({"uniform-zstd:3,5", "int8", "fidelity"}, {}, {});
  ASSERT_TRUE(coders.ok()) << coders.error().message();
  std::vector<std::string> names;
  for (const NamedCoder& coder : *coders) names.push_back(coder.name());
  EXPECT_THAT(names, ElementsAre("uniform-zstd:3", "uniform-zstd:5", "int8", "fidelity:14", "fidelity:20",
                                 "fidelity:26", "fidelity:32"));
  for (const char* wrong : {"uniform-zstd:x", "uniform-zstd:", "jpeg", "planes:1.5", "fidelity:-3"}) {
    EXPECT_FALSE(make_coders({wrong}, {}, {}).ok()) << wrong;
  }
}

}  // namespace
}  // namespace pinion::bench
