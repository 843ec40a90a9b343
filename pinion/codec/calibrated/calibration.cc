#include "pinion/codec/calibrated/calibration.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/crc32c.h"
#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/fidelity/basis.h"

namespace pinion::codec {
namespace {

constexpr std::array<std::uint8_t, 4> kMagic = {'P', 'N', 'C', '1'};
constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kFlagHistory = 1;
constexpr std::uint8_t kFlagLoudness = 2;
constexpr std::uint8_t kFlagResponse = 4;
constexpr std::int32_t kMaxQuantised = 32767;
constexpr float kMaxScale = 0x1p40f;
constexpr float kMaxValue = 0x1p60f;

Error broken_asset(std::string_view what) {
  return Error{Errc::kBadFormat, "calibration: " + std::string(what), ""};
}

struct Sizes {
  std::uint64_t channels, components, latents, records;
  bool has_history, has_loudness, has_response;

  std::uint64_t features() const { return (has_history ? components : 0) + 2 * latents; }

  // Numbers in the file, and the bytes of everything after the header but the checksum. Every factor is
  // bounded before this is asked, so nothing overflows.
  std::uint64_t values() const { return shared_values() + records * record_values(); }
  std::uint64_t bytes() const {
    return matrix_bytes(components, channels) + matrix_bytes(components + latents, channels) +
           records *
               (sizeof(float) * (3 + channels + 2 * latents + components + loudness_values()) +
                2 * components + matrix_bytes(latents, components) + matrix_bytes(features(), components) +
                (has_response ? matrix_bytes(latents, channels) : 0));
  }

 private:
  static std::uint64_t matrix_bytes(std::uint64_t rows, std::uint64_t columns) {
    return rows * (sizeof(float) + sizeof(std::int16_t) * columns);
  }
  std::uint64_t loudness_values() const { return has_loudness ? channels + 1 : 0; }
  std::uint64_t shared_values() const { return (2 * components + latents) * channels; }
  std::uint64_t record_values() const {
    return channels + 2 * latents + 3 * components + (latents + features()) * components + loudness_values() +
           (has_response ? latents * channels : 0);
  }
};

// Powers of two, so that writing again what was read gives the same bytes.
float scale_for(std::span<const float> row) {
  float largest = 0;
  for (const float value : row) largest = std::max(largest, std::abs(value));
  if (largest == 0) return 0;
  float scale = std::ldexp(1.0f, std::ilogb(largest) - 15);
  while (largest > scale * kMaxQuantised) scale *= 2;
  return scale;
}

void write_matrix(ByteWriter& out, const Matrix& matrix) {
  std::vector<float> scales;
  for (std::size_t r = 0; r < matrix.rows; ++r) scales.push_back(scale_for(matrix.row(r)));
  for (const float scale : scales) out.write(scale);
  for (std::size_t r = 0; r < matrix.rows; ++r) {
    for (const float value : matrix.row(r)) {
      const long quantised = scales[r] == 0 ? 0 : std::lround(value / scales[r]);
      out.write(static_cast<std::int16_t>(quantised));
    }
  }
}

Result<Matrix> read_matrix(ByteReader& in, std::uint64_t rows, std::uint64_t columns) {
  std::vector<float> scales(rows);
  for (float& scale : scales) {
    scale = in.read<float>();
    if (!(scale >= 0 && scale <= kMaxScale)) return broken_asset("impossible scale");
  }
  Matrix matrix(rows, columns);
  const ByteSpan packed = in.take(rows * columns * sizeof(std::int16_t));
  PINION_TRY_VOID(in.check("calibration"));
  for (std::size_t i = 0; i < matrix.values.size(); ++i) {
    std::int16_t value;
    std::memcpy(&value, packed.data() + i * sizeof(value), sizeof(value));
    matrix.values[i] = scales[i / columns] * static_cast<float>(value);
  }
  return matrix;
}

void write_floats(ByteWriter& out, std::span<const float> values) { out.write_bytes(std::as_bytes(values)); }

Result<float> read_float(ByteReader& in, float least) {
  const auto value = in.read<float>();
  if (!(value >= least && value <= kMaxValue)) return broken_asset("a number is out of range");
  return value;
}

Result<std::vector<float>> read_floats(ByteReader& in, std::uint64_t count, float least) {
  std::vector<float> values(count);
  for (float& value : values) {
    PINION_TRY(value, read_float(in, least));
  }
  PINION_TRY_VOID(in.check("calibration"));
  return values;
}

void write_levels(ByteWriter& out, std::span<const std::uint8_t> levels) {
  out.write_bytes(std::as_bytes(levels));
}

std::vector<std::uint8_t> read_levels(ByteReader& in, std::uint64_t count) {
  std::vector<std::uint8_t> levels;
  for (const std::byte level : in.take(count)) levels.push_back(std::to_integer<std::uint8_t>(level));
  return levels;
}

Result<CalibrationRecord> read_record(ByteReader& in, const Sizes& sizes) {
  CalibrationRecord record;
  PINION_TRY(record.sigma, read_float(in, 0));
  PINION_TRY(record.mean, read_floats(in, sizes.channels, -kMaxValue));
  PINION_TRY(record.latent_mean, read_floats(in, sizes.latents, -kMaxValue));
  PINION_TRY(record.change_mean, read_floats(in, sizes.latents, -kMaxValue));
  PINION_TRY(record.latents_alone, read_matrix(in, sizes.latents, sizes.components));
  PINION_TRY(record.history, read_matrix(in, sizes.features(), sizes.components));
  record.levels = read_levels(in, sizes.components);
  record.history_levels = read_levels(in, sizes.components);
  PINION_TRY(record.gain, read_floats(in, sizes.components, 0));
  PINION_TRY(record.floor, read_float(in, 0));
  PINION_TRY(record.output_energy, read_float(in, 0));
  if (sizes.has_loudness) {
    PINION_TRY(record.loudness, read_floats(in, sizes.channels, -kMaxValue));
    PINION_TRY(record.loudness_bias, read_float(in, -kMaxValue));
  }
  if (sizes.has_response) {
    PINION_TRY(const Matrix response, read_matrix(in, sizes.latents, sizes.channels));
    record.response = transpose(response);
  }
  PINION_TRY_VOID(in.check("calibration"));
  if (record.sigma > 1) return broken_asset("a sigma is above 1");
  if (record.output_energy == 0) return broken_asset("an output without energy");
  return record;
}

[[maybe_unused]] bool is_whole(const Calibration& c) {
  const std::size_t d = c.channels(), k = c.components(), latents = c.latents();
  const std::size_t features = (c.has_history ? k : 0) + 2 * latents;
  return k >= 1 && k <= d && d <= kMaxCalibrationChannels && latents <= kMaxCalibrationLatents &&
         c.reconstruction.columns == d && (!c.has_response || latents > 0) && !c.records.empty() &&
         c.records.size() <= kMaxCalibrationRecords && !c.key.stream.empty() &&
         c.key.stream.size() <= kMaxStreamName && c.key.cut <= kMaxCalibrationCut &&
         std::all_of(c.records.begin(), c.records.end(), [&](const CalibrationRecord& r) {
           return r.mean.size() == d && r.latent_mean.size() == latents && r.change_mean.size() == latents &&
                  r.latents_alone.values.size() == latents * k && r.history.values.size() == features * k &&
                  r.levels.size() == k && r.history_levels.size() == k && r.gain.size() == k &&
                  r.loudness.size() == (c.has_loudness ? d : 0) &&
                  r.response.values.size() == (c.has_response ? d * latents : 0);
         });
}

Result<Sizes> read_header(ByteReader& in, CalibrationKey& key) {
  const auto flags = in.read<std::uint8_t>();
  const ByteSpan model = in.take(key.model.size());
  PINION_TRY(const std::uint64_t cut, read_varint(in, "calibration"));
  PINION_TRY(const std::uint64_t name_bytes, read_varint(in, "calibration"));
  if (name_bytes == 0 || name_bytes > kMaxStreamName) return broken_asset("impossible name of a stream");
  key.stream = as_text(in.take(name_bytes));
  Sizes sizes{};
  PINION_TRY(sizes.channels, read_varint(in, "calibration"));
  PINION_TRY(sizes.components, read_varint(in, "calibration"));
  PINION_TRY(sizes.latents, read_varint(in, "calibration"));
  PINION_TRY(sizes.records, read_varint(in, "calibration"));
  PINION_TRY_VOID(in.check("calibration"));
  if (flags > (kFlagHistory | kFlagLoudness | kFlagResponse)) return broken_asset("reserved flags are set");
  if (cut > kMaxCalibrationCut) return broken_asset("impossible cut");
  if (sizes.channels > kMaxCalibrationChannels || sizes.components == 0 ||
      sizes.components > sizes.channels || sizes.latents > kMaxCalibrationLatents || sizes.records == 0 ||
      sizes.records > kMaxCalibrationRecords) {
    return broken_asset("impossible size");
  }
  if ((flags & kFlagResponse) && sizes.latents == 0) return broken_asset("a response of no velocity");
  sizes.has_history = flags & kFlagHistory;
  sizes.has_loudness = flags & kFlagLoudness;
  sizes.has_response = flags & kFlagResponse;
  key.cut = static_cast<std::uint32_t>(cut);
  std::copy(model.begin(), model.end(), key.model.begin());
  return sizes;
}

}  // namespace

std::uint8_t level_of(double deviation) {
  if (!(deviation > 0)) return 0;
  const double level = kLevelZero + kLevelsPerOctave * std::log2(deviation);
  return static_cast<std::uint8_t>(std::lround(std::clamp(level, 0.0, 255.0)));
}

Bytes write_calibration(const Calibration& calibration) {
  PINION_ASSERT(is_whole(calibration));
  ByteWriter out;
  out.write_bytes(std::as_bytes(std::span(kMagic)));
  out.write(kVersion);
  out.write(static_cast<std::uint8_t>((calibration.has_history ? kFlagHistory : 0) |
                                      (calibration.has_loudness ? kFlagLoudness : 0) |
                                      (calibration.has_response ? kFlagResponse : 0)));
  out.write_bytes(calibration.key.model);
  write_varint(out, calibration.key.cut);
  write_varint(out, calibration.key.stream.size());
  out.write_bytes(as_bytes(calibration.key.stream));
  write_varint(out, calibration.channels());
  write_varint(out, calibration.components());
  write_varint(out, calibration.latents());
  write_varint(out, calibration.records.size());
  write_matrix(out, transpose(calibration.projection));
  write_matrix(out, calibration.reconstruction);
  for (const CalibrationRecord& record : calibration.records) {
    out.write(record.sigma);
    write_floats(out, record.mean);
    write_floats(out, record.latent_mean);
    write_floats(out, record.change_mean);
    write_matrix(out, record.latents_alone);
    write_matrix(out, record.history);
    write_levels(out, record.levels);
    write_levels(out, record.history_levels);
    write_floats(out, record.gain);
    out.write(record.floor);
    out.write(record.output_energy);
    if (calibration.has_loudness) {
      write_floats(out, record.loudness);
      out.write(record.loudness_bias);
    }
    if (calibration.has_response) write_matrix(out, transpose(record.response));
  }
  out.write(crc32c(out.view()));
  return std::move(out).take();
}

Result<std::shared_ptr<const Calibration>> parse_calibration(ByteSpan asset, std::uint64_t max_values) {
  if (asset.size() < kMagic.size() + 1 + kChecksumBytes) {
    return Error{Errc::kNeedMoreBytes, "calibration ends too early", ""};
  }
  ByteReader in(asset.first(asset.size() - kChecksumBytes));
  for (const std::uint8_t byte : kMagic) {
    if (in.read<std::uint8_t>() != byte) return broken_asset("it does not start with PNC1");
  }
  if (const auto version = in.read<std::uint8_t>(); version != kVersion) {
    return Error{Errc::kUnsupported,
                 "calibration of version " + std::to_string(version) + ", this build reads version 1",
                 "make it again with this version of Pinion"};
  }
  auto calibration = std::make_shared<Calibration>();
  PINION_TRY(const Sizes sizes, read_header(in, calibration->key));
  if (sizes.values() > max_values) {
    return Error{Errc::kTooLarge,
                 "calibration of " + std::to_string(sizes.values()) + " numbers, at most " +
                     std::to_string(max_values) + " are accepted",
                 ""};
  }
  if (in.remaining() < sizes.bytes()) {
    return Error{Errc::kNeedMoreBytes, "calibration ends too early", ""};
  }
  if (in.remaining() > sizes.bytes()) return broken_asset("stray bytes at its end");
  if (!verify_checksum(asset).ok()) return broken_asset("it is damaged: its checksum does not match");

  calibration->id = basis_id(asset);
  calibration->has_history = sizes.has_history;
  calibration->has_loudness = sizes.has_loudness;
  calibration->has_response = sizes.has_response;
  PINION_TRY(const Matrix projection, read_matrix(in, sizes.components, sizes.channels));
  calibration->projection = transpose(projection);
  PINION_TRY(calibration->reconstruction, read_matrix(in, sizes.components + sizes.latents, sizes.channels));
  for (std::uint64_t i = 0; i < sizes.records; ++i) {
    PINION_TRY(CalibrationRecord record, read_record(in, sizes));
    if (i > 0 && !(record.sigma < calibration->records.back().sigma))
      return broken_asset("sigmas do not fall");
    calibration->records.push_back(std::move(record));
  }
  return std::shared_ptr<const Calibration>(std::move(calibration));
}

Result<void> check_calibration(const Calibration& calibration, const CalibrationKey& wanted) {
  const auto at = [](const CalibrationKey& key) {
    return "stream \"" + key.stream + "\" at cut " + std::to_string(key.cut);
  };
  if (calibration.key.model != wanted.model) {
    return Error{Errc::kModelMismatch,
                 "calibration of model " + to_hex(calibration.key.model) + ", the model here is " +
                     to_hex(wanted.model),
                 "make a calibration with this model"};
  }
  if (calibration.key == wanted) return {};
  return Error{Errc::kInvalidArgument, "calibration of " + at(calibration.key) + ", wanted is " + at(wanted),
               "calibrate this cut too"};
}

}  // namespace pinion::codec
