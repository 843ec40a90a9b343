// Mode 2 decoded on a device, against the reference decoder: within the tolerance of docs/format.md §6.5, and
// the same refusals. That states are the same integers shows in the frames that predict from them.

#include <gtest/gtest.h>

#include <cstring>

#include "pinion/base/crc32c.h"
#include "pinion/codec/cuda/device_testing.h"
#include "pinion/codec/fidelity/fidelity_decoder.h"
#include "pinion/codec/reference/random_frames.h"
#include "pinion/codec/reference/twin_decoders.h"

namespace pinion::codec {
namespace {

using testing::below;
using testing::decode_there;
using testing::device_decoder;
using testing::Dice;
using testing::kGenerous;

// Both decoders of one stream.
struct Both {
  std::unique_ptr<DeviceDecoder> there = device_decoder();
  ReferenceDecoder reference;

  void add_basis(const Bytes& asset) {
    ASSERT_TRUE(there->add_basis(asset, testing::kGenerousBasis).ok());
    ASSERT_TRUE(reference.add_basis(asset, testing::kGenerousBasis).ok());
  }

  // Empty if they agree. `accepted` counts.
  std::string decode(const Bytes& frame, std::size_t bytes, std::size_t& accepted) {
    const auto expected = reference.decode(frame, {.max_tensor_bytes = bytes});
    const auto decoded = decode_there(*there, frame, bytes);
    if (decoded.ok() != expected.ok())
      return decoded.ok() ? "taken, though " + expected.error().message() : decoded.error().message();
    if (!decoded.ok()) return "";
    ++accepted;
    return testing::TwinDecoders::compare_tensors(*decoded, *expected);
  }
};

TEST(DeviceFidelity, StreamsOfTheCpuAreWithinTheTolerance) {
  PINION_SKIP_WITHOUT_DEVICE();
  std::size_t accepted = 0;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const std::int64_t rows : {2, 31, 300}) {
      for (const std::int64_t channels : {24, 97, 256}) {
        const testing::LowRank form = {
            .rows = rows, .channels = channels, .rank = static_cast<std::size_t>(channels / 3), .seed = 120};
        for (const bool with_basis : {false, true}) {
          SCOPED_TRACE(std::string(name(dtype)) + " " + std::to_string(rows) + " " +
                       std::to_string(channels));
          const auto encoder = testing::encoder_of({.mode = Mode::kFidelity, .target_snr_db = 18});
          if (with_basis) {
            ASSERT_TRUE(encoder->offer_basis(testing::basis_of(form)).ok());
          }
          Both both;
          for (const Tensor& tensor : testing::low_rank_sequence(dtype, 4, form)) {
            const EncodedFrame encoded = encoder->encode(tensor).value();
            if (!encoded.basis.empty()) both.add_basis(encoded.basis);
            ASSERT_EQ(both.decode(encoded.frame, tensor.bytes(), accepted), "");
          }
        }
      }
    }
  }
  EXPECT_EQ(accepted, 3u * 3 * 3 * 2 * 4);
}

TEST(DeviceFidelity, AnyFrameIsWithinTheToleranceOrRefused) {
  PINION_SKIP_WITHOUT_DEVICE();
  std::size_t accepted = 0;
  for (std::uint32_t stream = 0; stream < 80; ++stream) {
    Dice dice(1000 + stream);
    SCOPED_TRACE(stream);
    const DType dtype = std::array{DType::kF32, DType::kF16, DType::kBF16}[below(dice, 3)];
    const bool is_large = stream % 4 == 0;
    const testing::LowRank form = {
        .channels = is_large ? 150 : 12, .rank = 1 + below(dice, is_large ? 100 : 12), .seed = 130 + stream};
    const bool with_basis = below(dice, 3) != 0;
    const Shape shape{static_cast<std::int64_t>(1 + below(dice, is_large ? 200 : 40)), form.channels};
    Both both;
    std::shared_ptr<const Basis> basis;
    if (with_basis) {
      const Bytes asset = testing::basis_of(form);
      both.add_basis(asset);
      basis = decode_basis(asset, testing::kGenerousBasis).value();
    }
    IndexTables tables;
    ChunkPool pool(1);
    std::optional<StreamState> state;
    const auto bytes = static_cast<std::size_t>(shape.elements()) * size_bytes(dtype);
    for (int step = 0; step < 8; ++step) {
      const Bytes frame =
          testing::any_fidelity_frame(dice, dtype, shape, basis.get(), state ? &*state : nullptr);
      ASSERT_EQ(both.decode(frame, bytes, accepted), "") << "step " << step;
      auto decoded = decode_fidelity(parse_frame(frame, kGenerous).value(), basis.get(),
                                     state ? &*state : nullptr, tables, pool);
      if (decoded.ok()) state = std::move(decoded->state);  // else a value left its range
    }
  }
  EXPECT_GT(accepted, 300u);
}

TEST(DeviceFidelity, WhatIsNotHereIsNotFound) {
  PINION_SKIP_WITHOUT_DEVICE();
  const testing::LowRank form = {.rows = 64, .channels = 48, .rank = 12};
  const auto encoder = testing::encoder_of({.mode = Mode::kFidelity, .target_snr_db = 20});
  ASSERT_TRUE(encoder->offer_basis(testing::basis_of(form)).ok());
  const auto steps = testing::low_rank_sequence(DType::kBF16, 3, form);
  const EncodedFrame first = encoder->encode(steps[0]).value(), second = encoder->encode(steps[1]).value();
  const std::size_t bytes = steps[0].bytes();
  const auto decoder = device_decoder();
  ASSERT_FALSE(first.basis.empty());
  EXPECT_EQ(decode_there(*decoder, first.frame, bytes).error().code, Errc::kNotFound);
  ASSERT_TRUE(decoder->add_basis(first.basis, testing::kGenerousBasis).ok());
  ASSERT_FALSE(second.stats.key_frame);
  EXPECT_EQ(decode_there(*decoder, second.frame, bytes).error().code, Errc::kNotFound);
  EXPECT_TRUE(decode_there(*decoder, first.frame, bytes).ok());
  EXPECT_TRUE(decode_there(*decoder, second.frame, bytes).ok());
}

TEST(DeviceFidelity, ContentIsJudgedAsTheReferenceDoes) {
  PINION_SKIP_WITHOUT_DEVICE();
  const testing::LowRank form = {.rows = 60, .channels = 40, .rank = 16};
  const auto encoder = testing::encoder_of({.mode = Mode::kFidelity, .target_snr_db = 20});
  ASSERT_TRUE(encoder->offer_basis(testing::basis_of(form)).ok());
  const auto steps = testing::low_rank_sequence(DType::kBF16, 2, form);
  const EncodedFrame first = encoder->encode(steps[0]).value(), second = encoder->encode(steps[1]).value();
  Dice dice(17);
  std::size_t accepted = 0;
  for (int i = 0; i < 120; ++i) {
    Both both;
    both.add_basis(first.basis);
    ASSERT_EQ(both.decode(first.frame, steps[0].bytes(), accepted), "");
    Bytes frame = second.frame;
    const std::size_t at = i < 40 ? 30 + dice.bits() % 60 : dice.bits() % (frame.size() - 4);
    frame[at] ^= std::byte(1 + dice.bits() % 255);
    const std::uint32_t checksum = crc32c(ByteSpan(frame).first(frame.size() - 4));
    std::memcpy(frame.data() + frame.size() - 4, &checksum, 4);
    EXPECT_EQ(both.decode(frame, steps[1].bytes(), accepted), "") << "byte " << at;
  }
}

}  // namespace
}  // namespace pinion::codec
