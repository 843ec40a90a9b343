// The reference decoder, which follows docs/format.md line by line, against the one that ships: on what
// encoders write, on whatever else the document allows, and on frames that were changed on the way.

#include <gtest/gtest.h>

#include "pinion/base/crc32c.h"
#include "pinion/base/file_io.h"
#include "pinion/codec/container.h"
#include "pinion/codec/reference/random_bounded.h"
#include "pinion/codec/reference/random_frames.h"
#include "pinion/codec/reference/twin_decoders.h"

namespace pinion::codec {
namespace {

using testing::below;
using testing::Dice;
using testing::TwinDecoders;

constexpr DecodeLimits kLimits = {.max_tensor_bytes = 1 << 16, .max_channels = 512};
constexpr std::uint32_t kChecksumOfTables = 0x724c64d9;  // docs/format.md §6.2

TEST(ReferenceTables, AreThoseOfTheDecoderAndOfTheDocument) {
  ByteWriter all;
  for (int shape = 0; shape < kShapes; ++shape) {
    ASSERT_EQ(base_scales(shape), reference_base_scale(shape));
    for (int scale = 1; scale <= base_scales(shape); ++scale) {
      SCOPED_TRACE(std::to_string(shape) + ", " + std::to_string(scale));
      const ReferenceTable table = reference_table(shape, scale);
      const Frequencies ours =
          index_frequencies({static_cast<std::uint8_t>(shape), static_cast<std::uint8_t>(scale)});
      ASSERT_TRUE(std::ranges::equal(ours, table));
      std::uint32_t sum = 0;
      for (const std::uint32_t frequency : table) {
        EXPECT_TRUE(frequency >= 1 && frequency < kProbabilityScale);
        sum += frequency;
        all.write(static_cast<std::uint16_t>(frequency));
      }
      EXPECT_EQ(sum, kProbabilityScale);
    }
  }
  EXPECT_EQ(crc32c(all.view()), kChecksumOfTables);
}

// What crosses a link: assets and frames, in order.
struct Crossing {
  std::string name;
  std::vector<Bytes> bases;
  std::vector<Bytes> frames;
};

std::vector<Crossing> golden_crossings() {
  const std::filesystem::path folder = std::filesystem::path(PINION_SOURCE_DIR) / "tests/golden/frames";
  std::vector<Crossing> all;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".pnf") continue;
    const Bytes file = read_file(entry.path(), 1 << 20).value();
    const Container container = parse_container(file).value();
    Crossing crossing{entry.path().stem().string(), {}, {}};
    for (const ByteSpan basis : container.bases) crossing.bases.emplace_back(basis.begin(), basis.end());
    for (const ContainerFrame& frame : container.frames)
      crossing.frames.emplace_back(frame.frame.begin(), frame.frame.end());
    all.push_back(std::move(crossing));
  }
  return all;
}

// Twins that have seen the first `frames` frames.
TwinDecoders twins_after(const Crossing& crossing, std::size_t frames) {
  TwinDecoders twins;
  for (const Bytes& basis : crossing.bases) EXPECT_EQ(twins.add_basis(basis, testing::kGenerousBasis), "");
  for (std::size_t i = 0; i < frames; ++i) EXPECT_EQ(twins.decode(crossing.frames[i], kLimits), "");
  return twins;
}

void make_checksum_right(Bytes& bytes) {
  const std::uint32_t checksum = crc32c(ByteSpan(bytes).first(bytes.size() - kChecksumBytes));
  std::memcpy(bytes.data() + bytes.size() - kChecksumBytes, &checksum, kChecksumBytes);
}

// Hands `count` changed copies of each frame to twins that have seen what it needs: a few flipped bits, a
// byte set to anything, a cut, a byte put in. Counts how many were accepted.
std::size_t try_changed_frames(Dice& dice, const Crossing& crossing, std::size_t count) {
  std::size_t accepted = 0;
  for (std::size_t i = 0; i < crossing.frames.size(); ++i) {
    TwinDecoders twins = twins_after(crossing, i);
    for (std::size_t n = 0; n < count; ++n) {
      Bytes changed = crossing.frames[i];
      const auto at = static_cast<std::ptrdiff_t>(below(dice, changed.size()));
      switch (below(dice, 6)) {
        case 0:
          changed[static_cast<std::size_t>(at)] = std::byte(dice.bits() & 0xff);
          break;
        case 1:
          changed.erase(changed.begin() + at, changed.end());
          break;
        case 2:
          changed.insert(changed.begin() + at, std::byte(dice.bits() & 0xff));
          break;
        default:
          for (std::size_t flips = 1 + below(dice, 2); flips > 0; --flips)
            changed[below(dice, changed.size())] ^= std::byte{1} << below(dice, 8);
      }
      if (changed.size() >= kChecksumBytes && below(dice, 16) != 0) make_checksum_right(changed);
      EXPECT_EQ(twins.decode(changed, kLimits), "")
          << crossing.name << ", frame " << i << ": " << to_hex(changed);
      if (!twins.accepted()) continue;
      ++accepted;
      twins = twins_after(crossing, i);
    }
  }
  return accepted;
}

TEST(Reference, AgreesOnGoldenFrames) {
  const auto all = golden_crossings();
  ASSERT_GE(all.size(), 14u);
  for (const Crossing& crossing : all) {
    SCOPED_TRACE(crossing.name);
    twins_after(crossing, crossing.frames.size());
  }
}

TEST(Reference, AgreesOnChangedGoldenFrames) {
  Dice dice(101);
  std::size_t accepted = 0;
  for (const Crossing& crossing : golden_crossings()) accepted += try_changed_frames(dice, crossing, 200);
  EXPECT_GT(accepted, 100u);
}

TEST(Reference, AgreesOnChangedBases) {
  Dice dice(102);
  std::size_t accepted = 0;
  for (const Crossing& crossing : golden_crossings()) {
    for (const Bytes& basis : crossing.bases) {
      for (std::size_t bit = 0; bit < 8 * (basis.size() - kChecksumBytes); ++bit) {
        Bytes changed = basis;
        changed[bit / 8] ^= std::byte{1} << (bit % 8);
        make_checksum_right(changed);
        TwinDecoders twins;
        EXPECT_EQ(twins.add_basis(changed, testing::kGenerousBasis), "") << to_hex(changed);
        accepted += twins.accepted();
      }
      for (std::size_t size = 0; size < basis.size(); ++size) {
        Bytes cut(basis.begin(), basis.begin() + static_cast<std::ptrdiff_t>(size));
        if (size >= kChecksumBytes) make_checksum_right(cut);
        TwinDecoders twins;
        EXPECT_EQ(twins.add_basis(cut, testing::kGenerousBasis), "");
        EXPECT_FALSE(twins.accepted());
      }
    }
  }
  EXPECT_GT(accepted, 0u);
}

TEST(Reference, AgreesOnWhatEncodersWrite) {
  const std::vector<Shape> shapes = {{0, 8}, {1, 8}, {8, 0},  {2, 1},      {33, 1}, {1, 1},
                                     {},     {7},    {37, 5}, {3, 11, 20}, {64, 24}};
  std::uint32_t seed = 110;
  std::size_t fidelity_frames = 0;
  for (const DType dtype :
       {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kF8E5M2, DType::kI16}) {
    for (const std::string_view profile : {"raw", "lossless", "fidelity:6", "fidelity:20", "fidelity:45",
                                           "bounded:.3", "bounded:rel:.001", "int8", "int4"}) {
      for (const Shape& shape : shapes) {
        SCOPED_TRACE(std::string(name(dtype)) + " " + std::string(profile) + " " + to_string(shape));
        Dice dice(++seed);
        const auto encoder = testing::encoder_of(parse_profile(profile).value());
        TwinDecoders twins;
        for (int step = 0; step < 3; ++step) {
          Tensor tensor = testing::random_bits(dtype, shape, seed);
          if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16) {
            std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
            for (float& value : values) value = static_cast<float>(dice.normal() * (1 + step));
            tensor = testing::tensor_of(dtype, shape, values);
          }
          const EncodedFrame encoded = encoder->encode(tensor).value();
          if (!encoded.basis.empty()) {
            EXPECT_EQ(twins.add_basis(encoded.basis, testing::kGenerousBasis), "");
          }
          EXPECT_EQ(twins.decode(encoded.frame, kLimits), "");
          EXPECT_TRUE(twins.accepted());
          fidelity_frames += inspect(encoded.frame, kLimits)->mode == Mode::kFidelity;
        }
      }
    }
  }
  EXPECT_GT(fidelity_frames, 50u);
}

TEST(Reference, AgreesOnStreamsWithABasis) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const std::int64_t rows : {2, 31, 100}) {
      const testing::LowRank form = {.rows = rows, .channels = 24, .rank = 5, .seed = 120};
      for (const bool with_basis : {false, true}) {
        const auto encoder = testing::encoder_of({.mode = Mode::kFidelity, .target_snr_db = 18});
        if (with_basis) {
          ASSERT_TRUE(encoder->offer_basis(testing::basis_of(form)).ok());
        }
        TwinDecoders twins;
        for (const Tensor& tensor : testing::low_rank_sequence(dtype, 4, form)) {
          const EncodedFrame encoded = encoder->encode(tensor).value();
          if (!encoded.basis.empty()) {
            EXPECT_EQ(twins.add_basis(encoded.basis, testing::kGenerousBasis), "");
          }
          EXPECT_EQ(twins.decode(encoded.frame, kLimits), "");
          EXPECT_TRUE(twins.accepted());
        }
      }
    }
  }
}

Shape any_shape(Dice& dice) {
  const auto extent = [&] { return static_cast<std::int64_t>(1 + below(dice, below(dice, 4) ? 12 : 40)); };
  switch (below(dice, 4)) {
    case 0:
      return {1, extent()};
    case 1:
      return {extent(), 1};
    case 2:
      return {extent(), extent()};
    default:
      return {2, extent(), extent()};
  }
}

TEST(Reference, AgreesOnAnyFidelityFrame) {
  std::size_t accepted = 0, changed = 0;
  for (std::uint32_t stream = 0; stream < 60; ++stream) {
    Dice dice(1000 + stream);
    SCOPED_TRACE(stream);
    const DType dtype = std::array{DType::kF32, DType::kF16, DType::kBF16}[below(dice, 3)];
    const testing::LowRank form = {.channels = 12, .rank = 1 + below(dice, 12), .seed = 130 + stream};
    const bool with_basis = below(dice, 2) == 0;
    const Shape shape =
        with_basis ? Shape{static_cast<std::int64_t>(1 + below(dice, 30)), form.channels} : any_shape(dice);
    Crossing crossing{"stream " + std::to_string(stream), {}, {}};
    std::shared_ptr<const Basis> basis;
    if (with_basis) {
      crossing.bases.push_back(testing::basis_of(form));
      basis = decode_basis(crossing.bases.back(), testing::kGenerousBasis).value();
    }
    TwinDecoders twins = twins_after(crossing, 0);
    for (int step = 0; step < 8; ++step) {
      const Bytes frame = testing::any_fidelity_frame(dice, dtype, shape, basis.get(), twins.state());
      ASSERT_EQ(twins.decode(frame, kLimits), "") << "step " << step << ": " << to_hex(frame);
      if (!twins.accepted()) continue;  // a value left its range
      ++accepted;
      crossing.frames.push_back(frame);
    }
    changed += try_changed_frames(dice, crossing, 6);
  }
  EXPECT_GT(accepted, 240u);
  EXPECT_GT(changed, 100u);
}

TEST(Reference, AgreesOnAnyLosslessFrame) {
  std::size_t changed = 0;
  for (std::uint32_t i = 0; i < 60; ++i) {
    Dice dice(2000 + i);
    SCOPED_TRACE(i);
    const DType dtype =
        std::array{DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kF8E5M2}[below(dice, 5)];
    const Shape shape = any_shape(dice);
    Crossing crossing{"stream " + std::to_string(i), {}, {}};
    TwinDecoders twins;
    testing::PreviousTensor previous;
    for (int step = 0; step < 3; ++step) {
      crossing.frames.push_back(
          testing::any_lossless_frame(dice, dtype, shape, step == 0 ? nullptr : &previous));
      ASSERT_EQ(twins.decode(crossing.frames.back(), kLimits), "");
      ASSERT_TRUE(twins.accepted());
      previous = {twins.tensor(), frame_checksum(crossing.frames.back())};
    }
    changed += try_changed_frames(dice, crossing, 8);
  }
  EXPECT_GT(changed, 60u);
}

TEST(Reference, AgreesOnAnyBoundedFrame) {
  std::size_t changed = 0;
  for (std::uint32_t i = 0; i < 60; ++i) {
    Dice dice(3000 + i);
    SCOPED_TRACE(i);
    const DType dtype = std::array{DType::kF32, DType::kF16, DType::kBF16}[below(dice, 3)];
    const Shape shape = any_shape(dice);
    Crossing crossing{"stream " + std::to_string(i), {}, {}};
    TwinDecoders twins;
    for (int step = 0; step < 3; ++step) {
      std::optional<std::uint32_t> previous;
      if (step > 0) previous = frame_checksum(crossing.frames.back());
      crossing.frames.push_back(testing::any_bounded_frame(dice, dtype, shape, previous));
      ASSERT_EQ(twins.decode(crossing.frames.back(), kLimits), "");
      ASSERT_TRUE(twins.accepted());
    }
    changed += try_changed_frames(dice, crossing, 8);
  }
  EXPECT_GT(changed, 60u);
}

TEST(Reference, AgreesOnAnyFrameOfGroups) {
  std::size_t changed = 0;
  for (std::uint32_t i = 0; i < 60; ++i) {
    Dice dice(4000 + i);
    SCOPED_TRACE(i);
    const DType dtype = std::array{DType::kF32, DType::kF16, DType::kBF16}[below(dice, 3)];
    const Shape shape = any_shape(dice);
    const Mode mode = below(dice, 2) ? Mode::kInt8 : Mode::kInt4;
    const Crossing crossing{"frame", {}, {testing::any_frame_of_groups(dice, mode, dtype, shape)}};
    TwinDecoders twins;
    ASSERT_EQ(twins.decode(crossing.frames[0], kLimits), "");
    ASSERT_TRUE(twins.accepted());
    changed += try_changed_frames(dice, crossing, 8);
  }
  EXPECT_GT(changed, 60u);
}

TEST(Reference, RefusesWhatHasNoElementsInModeTwo) {
  TwinDecoders twins;
  const Bytes frame = write_frame({Mode::kFidelity, DType::kF32, {0, 4}, std::nullopt, std::nullopt}, {});
  EXPECT_EQ(twins.decode(frame, kLimits), "");
  EXPECT_FALSE(twins.accepted());
}

}  // namespace
}  // namespace pinion::codec
