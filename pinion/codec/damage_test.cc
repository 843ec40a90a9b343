// Frames and bases that were cut short or changed on the way. What a checksum can notice is an error; where
// the checksum was made right again, the deep parsers see the change: an error or a tensor within the limits.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <functional>

#include "pinion/base/crc32c.h"
#include "pinion/base/sha256.h"
#include "pinion/codec/basis_store.h"
#include "pinion/codec/codec.h"
#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kChecksumBytes = 4;
constexpr DecodeLimits kLimits = {.max_tensor_bytes = 1 << 16, .max_channels = 512};

// A frame together with what a decoder must have seen before it.
struct Victim {
  std::string name;
  Bytes basis;
  Bytes previous;
  Bytes frame;

  std::unique_ptr<Decoder> decoder() const {
    auto decoder = Decoder::create();
    EXPECT_TRUE(basis.empty() || decoder->add_basis(basis, testing::kGenerousBasis).ok());
    EXPECT_TRUE(previous.empty() || decoder->decode(previous, kLimits).ok());
    return decoder;
  }
};

Bytes encode(const Profile& profile, const Tensor& tensor) {
  return testing::encoder_of(profile)->encode(tensor).value().frame;
}

Tensor small_normal(DType dtype, const Shape& shape) {
  testing::Dice dice(31);
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  for (float& value : values) value = static_cast<float>(dice.normal());
  return testing::tensor_of(dtype, shape, values);
}

std::vector<Victim> victims() {
  const Profile exact = {.mode = Mode::kLossless}, lossy = {.mode = Mode::kFidelity, .target_snr_db = 15};
  std::vector<Victim> all;
  all.push_back({"raw", {}, {}, encode({.mode = Mode::kRaw}, small_normal(DType::kF16, {3, 5}))});
  all.push_back({"lossless bf16", {}, {}, encode(exact, small_normal(DType::kBF16, {40, 12}))});
  all.push_back({"lossless f32", {}, {}, encode(exact, small_normal(DType::kF32, {33, 7}))});
  all.push_back(
      {"lossless constant", {}, {}, encode(exact, testing::filled(DType::kF8E4M3, {50, 9}, std::byte{3}))});

  const testing::LowRank small = {.rows = 20, .channels = 12, .rank = 2, .seed = 33};
  for (const std::string_view text : {"lossless", "bounded:.2", "bounded:rel:.01"}) {
    const Profile profile = parse_profile(text).value();
    const auto encoder = testing::encoder_of(profile);
    const auto steps = testing::low_rank_sequence(DType::kBF16, 2, small);
    Bytes first = encoder->encode(steps[0])->frame;
    const std::string title = std::string(name(profile.mode)) + " " + std::string(text);
    if (profile.mode == Mode::kBounded) all.push_back({title, {}, {}, first});
    all.push_back({title + ", predicted", {}, std::move(first), encoder->encode(steps[1])->frame});
  }
  for (const Mode mode : {Mode::kInt8, Mode::kInt4})
    all.push_back(
        {std::string(name(mode)), {}, {}, encode({.mode = mode}, small_normal(DType::kF16, {5, 35}))});

  const testing::LowRank form = {.rows = 40, .channels = 24, .rank = 4, .seed = 32};
  const auto sequence = testing::low_rank_sequence(DType::kBF16, 2, form);
  // No basis pays where every direction is as strong as any other.
  const auto full_rank = testing::low_rank_sequence(
      DType::kBF16, 2, {.rows = 40, .channels = 24, .rank = 2, .noise = 3, .seed = 32});
  const Bytes basis = testing::basis_of(form);
  const auto plain = testing::encoder_of(lossy), turned = testing::encoder_of(lossy);
  EXPECT_TRUE(turned->offer_basis(basis).ok());
  const Bytes plain_key = plain->encode(full_rank[0])->frame, plain_next = plain->encode(full_rank[1])->frame;
  const Bytes turned_key = turned->encode(sequence[0])->frame,
              turned_next = turned->encode(sequence[1])->frame;
  all.push_back({"fidelity", {}, {}, plain_key});
  all.push_back({"fidelity, predicted", {}, plain_key, plain_next});
  all.push_back({"fidelity, basis", basis, {}, turned_key});
  all.push_back({"fidelity, basis, predicted", basis, turned_key, turned_next});
  return all;
}

void make_checksum_right(Bytes& bytes) {
  const std::uint32_t checksum = crc32c(ByteSpan(bytes).first(bytes.size() - kChecksumBytes));
  std::memcpy(bytes.data() + bytes.size() - kChecksumBytes, &checksum, kChecksumBytes);
}

void for_each_flip(const Bytes& bytes, std::size_t end,
                   const std::function<void(Bytes, std::size_t)>& visit) {
  for (std::size_t bit = 0; bit < 8 * end; ++bit) {
    Bytes changed = bytes;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    visit(std::move(changed), bit);
  }
}

void expect_good_error(const Error& error) {
  EXPECT_FALSE(error.text.empty());
  EXPECT_TRUE(error.code == Errc::kBadFormat || error.code == Errc::kNeedMoreBytes ||
              error.code == Errc::kTooLarge || error.code == Errc::kUnsupported ||
              error.code == Errc::kNotFound)
      << name(error.code) << ": " << error.text;
}

// An error of outside bytes, or a tensor that the receiver allowed.
void expect_bounded(const Result<Tensor>& decoded) {
  if (!decoded.ok()) return expect_good_error(decoded.error());
  EXPECT_LE(decoded->bytes(), kLimits.max_tensor_bytes);
  EXPECT_EQ(decoded->view().span().size(), decoded->bytes());
}

TEST(Damage, VictimsAreWhatTheyShouldBe) {
  for (const Victim& victim : victims()) {
    SCOPED_TRACE(victim.name);
    EXPECT_TRUE(victim.decoder()->decode(victim.frame, kLimits).ok());
    const FrameInfo info = inspect(victim.frame, kLimits).value();
    EXPECT_EQ(name(info.mode), victim.name.substr(0, name(info.mode).size()));
    EXPECT_EQ(info.key_frame, victim.previous.empty());
    EXPECT_EQ(info.basis_hash.empty(), victim.basis.empty());
    EXPECT_LT(victim.frame.size(), 2000u);
  }
}

TEST(Damage, EveryTruncationIsAnError) {
  for (const Victim& victim : victims()) {
    SCOPED_TRACE(victim.name);
    const auto decoder = victim.decoder();
    for (std::size_t size = 0; size < victim.frame.size(); ++size) {
      const ByteSpan cut = ByteSpan(victim.frame).first(size);
      const auto decoded = decoder->decode(cut, kLimits);
      ASSERT_FALSE(decoded.ok()) << size;
      EXPECT_EQ(decoded.error().code, Errc::kNeedMoreBytes) << size;
      EXPECT_FALSE(inspect(cut, kLimits).ok()) << size;
    }
    // None of it changed the stream.
    EXPECT_TRUE(decoder->decode(victim.frame, kLimits).ok());
  }
}

TEST(Damage, TruncationsWithARightChecksumAreErrors) {
  for (const Victim& victim : victims()) {
    SCOPED_TRACE(victim.name);
    const auto decoder = victim.decoder();
    for (std::size_t size = kChecksumBytes; size < victim.frame.size(); ++size) {
      Bytes cut(victim.frame.begin(), victim.frame.begin() + static_cast<std::ptrdiff_t>(size));
      make_checksum_right(cut);
      EXPECT_FALSE(decoder->decode(cut, kLimits).ok()) << size;
    }
  }
}

TEST(Damage, EveryFlippedBitIsNoticed) {
  for (const Victim& victim : victims()) {
    SCOPED_TRACE(victim.name);
    const auto decoder = victim.decoder();
    for_each_flip(victim.frame, victim.frame.size(), [&](const Bytes& changed, std::size_t bit) {
      const auto decoded = decoder->decode(changed, kLimits);
      ASSERT_FALSE(decoded.ok()) << bit;
      expect_good_error(decoded.error());
    });
    EXPECT_TRUE(decoder->decode(victim.frame, kLimits).ok());
  }
}

TEST(Damage, FlippedBitsUnderARightChecksumStayWithinBounds) {
  for (const Victim& victim : victims()) {
    SCOPED_TRACE(victim.name);
    std::size_t refused = 0, bits = 0;
    auto decoder = victim.decoder();
    for_each_flip(victim.frame, victim.frame.size() - kChecksumBytes, [&](Bytes changed, std::size_t) {
      make_checksum_right(changed);
      const auto decoded = decoder->decode(changed, kLimits);
      expect_bounded(decoded);
      if (decoded.ok())
        decoder = victim.decoder();  // the stream went on; a refused frame leaves it as it was
      refused += !decoded.ok();
      ++bits;
    });
    EXPECT_TRUE(decoder->decode(victim.frame, kLimits).ok());
    EXPECT_GT(refused, 0u);
    EXPECT_LE(refused, bits);
  }
}

TEST(Damage, FlippedBitsInABasis) {
  const Victim victim = victims().back();
  for_each_flip(victim.basis, victim.basis.size(), [&](const Bytes& changed, std::size_t bit) {
    const auto added = Decoder::create()->add_basis(changed, testing::kGenerousBasis);
    ASSERT_FALSE(added.ok()) << bit;
    expect_good_error(added.error());
  });
  for_each_flip(victim.basis, victim.basis.size() - kChecksumBytes, [&](Bytes changed, std::size_t) {
    make_checksum_right(changed);
    const auto decoder = Decoder::create();
    if (const auto added = decoder->add_basis(changed, testing::kGenerousBasis); !added.ok())
      return expect_good_error(added.error());
    // It is another basis now, so frames of the old one must not take it.
    const auto decoded = decoder->decode(victim.previous, kLimits);
    ASSERT_FALSE(decoded.ok());
    EXPECT_EQ(decoded.error().code, Errc::kNotFound);
  });
  for (std::size_t size = 0; size < victim.basis.size(); ++size) {
    const ByteSpan cut = ByteSpan(victim.basis).first(size);
    EXPECT_FALSE(Decoder::create()->add_basis(cut, testing::kGenerousBasis).ok()) << size;
  }
}

// Frames made to name the changed basis, so that its values are used.
TEST(Damage, ChangedBasesInUseStayWithinBounds) {
  const auto all = victims();
  const Victim victim = all[all.size() - 2];
  const std::string old_id = inspect(victim.frame, kLimits)->basis_hash;
  const Bytes old_bytes = from_hex(old_id).value();
  const auto at = std::search(victim.frame.begin(), victim.frame.end(), old_bytes.begin(), old_bytes.end());
  ASSERT_NE(at, victim.frame.end());
  std::size_t used = 0;
  for_each_flip(victim.basis, victim.basis.size() - kChecksumBytes, [&](Bytes changed, std::size_t) {
    make_checksum_right(changed);
    const auto decoder = Decoder::create();
    if (!decoder->add_basis(changed, testing::kGenerousBasis).ok()) return;
    Bytes frame = victim.frame;
    const Bytes id = from_hex(basis_hash(changed)).value();
    std::copy(id.begin(), id.end(), frame.begin() + (at - victim.frame.begin()));
    make_checksum_right(frame);
    expect_bounded(decoder->decode(frame, kLimits));
    ++used;
  });
  EXPECT_GT(used, 0u);
}

// A valid asset of a few bytes: all its coefficients are 0.
Bytes hollow_basis(std::size_t components, std::size_t channels) {
  return encode_basis(Matrix(components, channels), std::vector<double>(components, 1.0));
}

TEST(Damage, ReceiversLimitTheBasesThatTheyTake) {
  const Bytes first = hollow_basis(4, 64), second = hollow_basis(3, 64);
  const auto verdict = [](Decoder& decoder, const Bytes& basis, const BasisLimits& limits) {
    const auto added = decoder.add_basis(basis, limits);
    return added.ok() ? "ok" : name(added.error().code);
  };
  EXPECT_EQ(verdict(*Decoder::create(), first, {.max_channels = 64, .max_coefficients = 256}), "ok");
  EXPECT_EQ(verdict(*Decoder::create(), first, {.max_channels = 63, .max_coefficients = 256}), "too_large");
  EXPECT_EQ(verdict(*Decoder::create(), first, {.max_channels = 64, .max_coefficients = 255}), "too_large");
  const auto decoder = Decoder::create();
  EXPECT_EQ(verdict(*decoder, first, {.max_channels = 64, .max_coefficients = 447}), "ok");
  EXPECT_EQ(verdict(*decoder, second, {.max_channels = 64, .max_coefficients = 447}), "too_large");
  EXPECT_EQ(verdict(*decoder, second, {.max_channels = 64, .max_coefficients = 100}), "too_large");
  EXPECT_EQ(verdict(*decoder, first, {.max_channels = 0, .max_coefficients = 0}), "ok") << "held already";
  EXPECT_EQ(verdict(*decoder, second, {.max_channels = 64, .max_coefficients = 448}), "ok");
}

TEST(Damage, LimitsOfAStreamFollowFromItsChannels) {
  EXPECT_EQ(BasisLimits::for_channels(100).max_channels, 100u);
  EXPECT_EQ(BasisLimits::for_channels(100).max_coefficients, 8u * 100 * 100);
  EXPECT_EQ(BasisLimits::for_channels(0).max_coefficients, 0u);
  for (const std::size_t channels : {std::size_t{4097}, std::size_t{70000}, std::size_t{1} << 40}) {
    EXPECT_EQ(BasisLimits::for_channels(channels).max_coefficients, kMaxBasisCoefficients) << channels;
  }
}

// A velocity's maps are whole: it has the channels of the latents.
TEST(Damage, WhatIsKeptLeavesRoomForANewBasisAndANewMap) {
  constexpr std::size_t kChannels = 16;
  constexpr std::size_t kKept = 2 * BasisStore::kAssetsPerPlace;  // bases and maps
  const auto decoder = Decoder::create();
  for (std::size_t i = 0; i < kKept + 2; ++i) {
    Matrix other(kChannels, kChannels);
    other.values[i] = 1;
    const Bytes asset = encode_basis(other, std::vector<double>(kChannels, 1.0));
    const auto added = decoder->add_basis(asset, BasisLimits::for_channels(kChannels));
    EXPECT_TRUE(added.ok()) << i << ": " << added.error().message();
  }
}

long peak_memory_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(Damage, AHugeBasisIsRefusedBeforeMemoryIsTaken) {
  constexpr std::size_t kComponents = 1 << 10, kChannels = 1 << 12;
  constexpr long kValuesKib = kComponents * kChannels * 4 / 1024;
  const Bytes basis = hollow_basis(kComponents, kChannels);
  ASSERT_LT(basis.size(), 4096u);
  // Each in a process of its own, whose peak begins at what it has. A small basis first, since code that is
  // run for the first time takes memory too.
  const Bytes small = hollow_basis(4, 64);
  const auto taken_kib = [&](const BasisLimits& limits, bool accepted) {
    static_cast<void>(Decoder::create()->add_basis(small, {.max_channels = 4, .max_coefficients = 4}));
    const long before = peak_memory_kib();
    const auto added = Decoder::create()->add_basis(basis, limits);
    const bool expected = accepted ? added.ok() : !added.ok() && added.error().code == Errc::kTooLarge;
    return expected ? peak_memory_kib() - before : -1;
  };
  const auto exits_with = [](bool good) { std::_Exit(good ? 0 : 1); };
  EXPECT_EXIT(exits_with(taken_kib(kOwnBasisLimits, true) >= kValuesKib), ::testing::ExitedWithCode(0), "");
  for (const std::size_t channels : {std::size_t{128}, kChannels / 4}) {
    const BasisLimits limits = BasisLimits::for_channels(channels);
    const auto is_little = [](long kib) { return kib >= 0 && kib < kValuesKib / 8; };
    EXPECT_EXIT(exits_with(is_little(taken_kib(limits, false))), ::testing::ExitedWithCode(0), "")
        << channels;
  }
}

TEST(Damage, HeadersThatPromiseTooMuch) {
  const auto verdict = [](std::initializer_list<int> after_magic) {
    ByteWriter out;
    out.write_bytes(as_bytes("PNF1"));
    for (const int byte : after_magic) out.write(static_cast<std::uint8_t>(byte));
    out.write(crc32c(out.view()));
    const auto decoded = Decoder::create()->decode(out.view(), kLimits);
    return decoded.ok() ? "ok" : name(decoded.error().code);
  };
  // version, mode, dtype, flags, rank, extents, body bytes
  EXPECT_EQ(verdict({1, 0, 10, 0, 0, 1, 42}), "ok");
  EXPECT_EQ(verdict({2, 0, 10, 0, 0, 1, 42}), "unsupported") << "version";
  EXPECT_EQ(verdict({1, 7, 10, 0, 0, 1, 42}), "unsupported") << "mode";
  EXPECT_EQ(verdict({1, 0, 12, 0, 0, 1, 42}), "bad_format") << "dtype";
  EXPECT_EQ(verdict({1, 1, 10, 0, 0, 1, 42}), "bad_format") << "dtype of the mode";
  EXPECT_EQ(verdict({1, 0, 10, 1, 0, 1, 42}), "bad_format") << "flags of the mode";
  EXPECT_EQ(verdict({1, 2, 2, 4, 0, 1, 42}), "bad_format") << "reserved flag";
  EXPECT_EQ(verdict({1, 0, 10, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 42}), "bad_format") << "rank";
  EXPECT_EQ(verdict({1, 0, 10, 0, 1, 0x81, 0x00, 1, 42}), "bad_format") << "extent in a second form";
  EXPECT_EQ(verdict({1, 0, 10, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x08, 0}), "bad_format") << "extent of 2^31";
  EXPECT_EQ(verdict({1, 0, 10, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x07, 0}), "too_large");
  EXPECT_EQ(verdict({1, 0, 10, 0, 0, 2, 42}), "need_more_bytes") << "body";
  EXPECT_EQ(verdict({1, 0, 10, 0, 0, 0}), "bad_format") << "no body";
  EXPECT_EQ(verdict({1, 0, 10, 0, 0, 1, 42, 43}), "bad_format") << "stray byte";
  EXPECT_EQ(verdict({1, 0, 10, 0, 1, 0, 1, 42}), "bad_format") << "body of nothing";
  EXPECT_EQ(verdict({1, 0, 10, 0, 2, 0, 0x80, 0x08, 0}), "too_large") << "channels";
}

}  // namespace
}  // namespace pinion::codec
