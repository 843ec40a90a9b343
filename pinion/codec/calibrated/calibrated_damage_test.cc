// Calibrated frames and calibrations that were cut short or changed on the way: an error or a tensor within
// the limits, also where the checksum was made right again and the deep parsers see the change.

#include <gtest/gtest.h>

#include <cmath>

#include "pinion/base/crc32c.h"
#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/calibrated/calibration_testing.h"

namespace pinion::codec {
namespace {

constexpr DecodeLimits kLimits = {.max_tensor_bytes = 1 << 16, .max_channels = 512};
// Rows in bands, coefficients of a grid, and low frequencies in front of rows in bands.
constexpr testing::SyntheticForm kForm = {
    .rows = 20, .channels = 5, .components = 2, .latents = 1, .deaf = 1, .has_loudness = true, .seed = 40};
constexpr testing::SyntheticForm kGridForm = {
    .rows = 27, .channels = 4, .components = 2, .latents = 1, .deaf = 1, .grid = {3, 9}, .seed = 41};
constexpr testing::SyntheticForm kLowForm = {.rows = 4 * 9 * 11,
                                             .channels = 8,
                                             .components = 5,
                                             .latents = 1,
                                             .deaf = 1,
                                             .has_loudness = true,
                                             .loudness_octaves = 0.8,
                                             .grid = {9, 11},
                                             .seed = 42};

// Two records, whose deviations are off by three octaves, up and down in turn: frames after the first write
// their scales.
Calibration badly_calibrated(Calibration calibration) {
  calibration.records.resize(2);
  for (CalibrationRecord& record : calibration.records) {
    for (std::size_t k = 0; k < record.history_levels.size(); ++k) {
      auto& level = record.history_levels[k];
      level = static_cast<std::uint8_t>(k % 2 == 0 ? level + 24 : level - 24);
    }
  }
  return calibration;
}

// Two frames of a stream and what they need.
struct Victim {
  explicit Victim(const testing::SyntheticForm& form = kForm) : stream(form) {
    const double target = form.has_loudness && form.grid.tokens() > 0 ? 24 : 30;
    auto encoder = CalibratedEncoder::create(calibration, {.output_snr_db = target}).value();
    key = encoder.encode(first.tensor, first.context())->frame;
    next = encoder.encode(second.tensor, second.context())->frame;
  }

  testing::SyntheticStream stream;
  Bytes asset = write_calibration(badly_calibrated(stream.calibration()));
  std::shared_ptr<const Calibration> calibration = parse_calibration(asset).value();
  testing::SyntheticStream::Step first = stream.next(DType::kBF16), second = stream.next(DType::kBF16);
  Bytes key, next;

  CalibratedDecoder decoder(bool after_key) const {
    CalibratedDecoder decoder(calibration);
    EXPECT_TRUE(!after_key || decoder.decode(key, first.context(), kLimits).ok());
    return decoder;
  }
};

void make_checksum_right(Bytes& bytes) {
  const std::uint32_t checksum = crc32c(ByteSpan(bytes).first(bytes.size() - kChecksumBytes));
  std::memcpy(bytes.data() + bytes.size() - kChecksumBytes, &checksum, kChecksumBytes);
}

void expect_good_error(const Error& error) {
  EXPECT_FALSE(error.text.empty());
  EXPECT_TRUE(error.code == Errc::kBadFormat || error.code == Errc::kNeedMoreBytes ||
              error.code == Errc::kTooLarge || error.code == Errc::kUnsupported ||
              error.code == Errc::kNotFound || error.code == Errc::kInvalidArgument)
      << name(error.code) << ": " << error.text;
}

void expect_bounded(const Result<Tensor>& decoded) {
  if (!decoded.ok()) return expect_good_error(decoded.error());
  EXPECT_LE(decoded->bytes(), kLimits.max_tensor_bytes);
  for (std::int64_t i = 0; i < decoded->elements(); ++i) {
    ASSERT_TRUE(std::isfinite(load_as_float(decoded->view().data, decoded->dtype(), i)));
  }
}

// The victim's frames as if they had been made with another calibration.
void expect_harmless_decoding(const Victim& victim, const std::shared_ptr<const Calibration>& calibration) {
  CalibratedDecoder decoder(calibration);
  std::optional<std::uint32_t> previous;
  for (const auto& [bytes, step] : {std::pair(&victim.key, &victim.first), {&victim.next, &victim.second}}) {
    const ParsedFrame parsed = parse_frame(*bytes, kLimits).value();
    FrameHeader header = parsed.header;
    header.basis = calibration->id;
    if (header.previous) header.previous = previous;
    const Bytes frame = write_frame(header, parsed.body);
    previous = parse_frame(frame, kLimits)->checksum;
    expect_bounded(decoder.decode(frame, step->context(), kLimits));
  }
}

void expect_harmless_coding(const Victim& victim, const std::shared_ptr<const Calibration>& calibration) {
  auto encoder = CalibratedEncoder::create(calibration, {.output_snr_db = 30}).value();
  CalibratedDecoder decoder(calibration);
  for (const auto* step : {&victim.first, &victim.second}) {
    const auto coded = encoder.encode(step->tensor, step->context());
    if (!coded.ok()) {
      expect_good_error(coded.error());
      continue;
    }
    expect_bounded(decoder.decode(coded->frame, step->context(), kLimits));
  }
}

TEST(CalibratedDamage, VictimsAreWhatTheyShouldBe) {
  const Victim victim;
  const auto params_of = [](ByteSpan frame) {
    ByteReader body(parse_frame(frame, kLimits)->body);
    return read_calibrated_params(body).value();
  };
  EXPECT_FALSE(params_of(victim.key).has_scales);
  EXPECT_FALSE(params_of(victim.key).uses_history());
  EXPECT_TRUE(params_of(victim.next).has_scales);
  EXPECT_TRUE(params_of(victim.next).uses_history());
  EXPECT_TRUE(victim.decoder(true).decode(victim.next, victim.second.context(), kLimits).ok());
  EXPECT_EQ(params_of(victim.next).layout, RowLayout::kBands);
  EXPECT_EQ(params_of(Victim(kGridForm).next).layout, RowLayout::kCoefficients);
  EXPECT_EQ(params_of(Victim(kLowForm).next).layout, RowLayout::kBands);
  EXPECT_TRUE(params_of(Victim(kLowForm).next).has_low);
}

class DamagedFrames : public ::testing::TestWithParam<testing::SyntheticForm> {};

TEST_P(DamagedFrames, CutShortAreErrors) {
  const Victim victim(GetParam());
  auto decoder = victim.decoder(true);
  for (std::size_t size = 0; size < victim.next.size(); ++size) {
    Bytes cut(victim.next.begin(), victim.next.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(decoder.decode(cut, victim.second.context(), kLimits).ok()) << size;
    EXPECT_FALSE(inspect(cut, kLimits).ok()) << size;
    if (size < kChecksumBytes) continue;
    make_checksum_right(cut);
    EXPECT_FALSE(decoder.decode(cut, victim.second.context(), kLimits).ok()) << size;
  }
  // None of it changed the stream.
  EXPECT_TRUE(decoder.decode(victim.next, victim.second.context(), kLimits).ok());
}

TEST_P(DamagedFrames, WithFlippedBitsAreErrorsOrBounded) {
  const Victim victim(GetParam());
  auto decoder = victim.decoder(true);
  for (std::size_t bit = 0; bit < 8 * victim.next.size(); ++bit) {
    Bytes changed = victim.next;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto noticed = decoder.decode(changed, victim.second.context(), kLimits);
    ASSERT_FALSE(noticed.ok()) << bit;
    expect_good_error(noticed.error());
    make_checksum_right(changed);
    auto fresh = victim.decoder(true);
    expect_bounded(fresh.decode(changed, victim.second.context(), kLimits));
    expect_bounded(fresh.decode(changed, victim.first.context(), kLimits));
    EXPECT_TRUE(inspect(changed, kLimits).ok() || bit < 8 * changed.size());
  }
  EXPECT_TRUE(decoder.decode(victim.next, victim.second.context(), kLimits).ok());
}

INSTANTIATE_TEST_SUITE_P(Calibrated, DamagedFrames, ::testing::Values(kForm, kGridForm, kLowForm),
                         [](const auto& form) {
                           return !form.param.has_loudness       ? "Grid"
                                  : form.param.grid.tokens() > 0 ? "Low"
                                                                 : "Bands";
                         });

TEST(CalibratedDamage, DamagedCalibrationsAreErrorsOrHarmless) {
  const Victim victim;
  for (std::size_t size = 0; size < victim.asset.size(); ++size) {
    Bytes cut(victim.asset.begin(), victim.asset.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(parse_calibration(cut).ok()) << size;
    if (size < kChecksumBytes) continue;
    make_checksum_right(cut);
    EXPECT_FALSE(parse_calibration(cut).ok()) << size;
  }
  for (std::size_t bit = 0; bit < 8 * victim.asset.size(); ++bit) {
    Bytes changed = victim.asset;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(parse_calibration(changed).ok()) << bit;
    make_checksum_right(changed);
    const auto parsed = parse_calibration(changed);
    if (!parsed.ok()) {
      expect_good_error(parsed.error());
      continue;
    }
    // Numbers within their ranges: coding with them gives an error or finite values.
    expect_harmless_decoding(victim, *parsed);
    if (bit % 16 == 0) expect_harmless_coding(victim, *parsed);
  }
}

TEST(CalibratedDamage, AFramesShapeMustBeTheCalibrations) {
  const Victim victim;
  auto decoder = victim.decoder(false);
  StepContext context = victim.first.context();
  context.latents = context.latents.first(3);
  const auto decoded = decoder.decode(victim.key, context, kLimits);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace pinion::codec
