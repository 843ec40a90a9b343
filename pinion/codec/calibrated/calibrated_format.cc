#include "pinion/codec/calibrated/calibrated_format.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/calibrated/low_frequencies.h"

namespace pinion::codec {
namespace {

constexpr int kShapeBits = 2;
constexpr int kHasScales = 16;  // in the byte of the shapes
constexpr int kHasBands = 32;
constexpr int kIsTransformed = 64;
constexpr int kHasLowFrequencies = 128;
constexpr int kScaleOfOne = 877;  // 64 times the scale that suits a deviation of one step, and a half
constexpr float kMaxComponent = 0x1p60f;

// Two records and the way between them.
struct Blend {
  const CalibrationRecord& from;
  const CalibrationRecord& to;
  int part;  // of kBlendOne

  float operator()(float a, float b) const {
    return part == 0 ? a : a + (b - a) * static_cast<float>(part) / kBlendOne;
  }
  void operator()(const std::vector<float>& a, const std::vector<float>& b, std::vector<float>& mixed) const {
    mixed.assign(a.begin(), a.end());
    for (std::size_t i = 0; i < a.size() && part != 0; ++i) mixed[i] = (*this)(a[i], b[i]);
  }
  void operator()(const Matrix& a, const Matrix& b, Matrix& mixed) const {
    mixed.resize(a.rows, a.columns);
    (*this)(a.values, b.values, mixed.values);
  }
  void operator()(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b,
                  std::vector<std::uint8_t>& mixed) const {
    mixed.resize(a.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      mixed[i] = static_cast<std::uint8_t>((a[i] * (kBlendOne - part) + b[i] * part + kBlendOne / 2) >> 8);
    }
  }
};

Blend blend_at(const Calibration& calibration, std::uint16_t position) {
  const std::size_t index = position / kBlendOne;
  const int part = position % kBlendOne;
  return {calibration.records[index], calibration.records[index + (part == 0 ? 0 : 1)], part};
}

std::uint64_t last_position(const Calibration& calibration) {
  return (calibration.records.size() - 1) * kBlendOne;
}

}  // namespace

float CalibratedParams::step(std::size_t band) const {
  const int in_band = step_log2 + static_cast<int>(band) * bands.step_growth;
  return static_cast<float>(std::exp2(static_cast<double>(in_band) / kStepsPerOctave));
}

std::uint16_t schedule_position(const Calibration& calibration, float sigma) {
  const auto& records = calibration.records;
  if (!(sigma < records.front().sigma)) return 0;
  std::size_t next = 1;
  while (next < records.size() && records[next].sigma > sigma) ++next;
  if (next == records.size()) return static_cast<std::uint16_t>(last_position(calibration));
  const double from = records[next - 1].sigma, to = records[next].sigma;
  const long part = std::lround((from - sigma) / (from - to) * kBlendOne);
  return static_cast<std::uint16_t>(static_cast<long>(next - 1) * kBlendOne + part);
}

void record_at(const Calibration& calibration, std::uint16_t position, CalibratedPredictor predictor,
               RecordAt& record) {
  PINION_ASSERT(position <= last_position(calibration));
  const Blend blend = blend_at(calibration, position);
  const auto& [from, to, part] = blend;
  const bool history = predictor == CalibratedPredictor::kHistory;
  const auto prediction = history ? &CalibrationRecord::history : &CalibrationRecord::latents_alone;
  const auto levels = history ? &CalibrationRecord::history_levels : &CalibrationRecord::levels;
  blend(from.mean, to.mean, record.mean);
  blend(from.latent_mean, to.latent_mean, record.latent_mean);
  blend(from.change_mean, to.change_mean, record.change_mean);
  blend(from.*prediction, to.*prediction, record.prediction);
  blend(from.*levels, to.*levels, record.levels);
  blend(from.gain, to.gain, record.gain);
  static_cast<RecordScalars&>(record) = scalars_at(calibration, position);
  blend(from.loudness, to.loudness, record.loudness);
}

std::vector<std::uint8_t> levels_at(const Calibration& calibration, std::uint16_t position,
                                    CalibratedPredictor predictor) {
  const Blend blend = blend_at(calibration, position);
  const auto levels = predictor == CalibratedPredictor::kHistory ? &CalibrationRecord::history_levels
                                                                 : &CalibrationRecord::levels;
  std::vector<std::uint8_t> mixed;
  blend(blend.from.*levels, blend.to.*levels, mixed);
  return mixed;
}

Matrix response_at(const Calibration& calibration, std::uint16_t position) {
  const Blend blend = blend_at(calibration, position);
  Matrix mixed;
  blend(blend.from.response, blend.to.response, mixed);
  return mixed;
}

RecordScalars scalars_at(const Calibration& calibration, std::uint16_t position) {
  const Blend blend = blend_at(calibration, position);
  return {.floor = blend(blend.from.floor, blend.to.floor),
          .output_energy = blend(blend.from.output_energy, blend.to.output_energy),
          .loudness_bias = blend(blend.from.loudness_bias, blend.to.loudness_bias)};
}

CalibratedParams first_params(const Calibration& calibration, const KnownOfStep& known) {
  CalibratedParams params;
  params.position = schedule_position(calibration, known.sigma);
  if (calibration.has_history && !known.has_state) return params;
  if (calibration.latents() > 0) {
    if (!known.has_previous_latents || !known.previous_sigma) return params;
    params.delta_sigma = known.sigma - *known.previous_sigma;
    if (!(std::abs(params.delta_sigma) >= kMinDeltaSigma) || !std::isfinite(params.delta_sigma)) {
      params.delta_sigma = 0;
      return params;
    }
  } else if (!calibration.has_history) {
    return params;
  }
  params.predictor = CalibratedPredictor::kHistory;
  return params;
}

Result<void> check_calibrated_fit(const FrameHeader& header, const Calibration& calibration) {
  if (header.mode != Mode::kCalibrated) {
    return Error{Errc::kInvalidArgument,
                 "a frame of mode " + std::string(name(header.mode)) +
                     " was given to the decoder of calibrated frames",
                 ""};
  }
  if (header.shape.elements() == 0) return {};
  if (!header.basis) return Error{Errc::kBadFormat, "calibrated frame names no calibration", ""};
  if (header.basis != calibration.id) {
    return Error{
        Errc::kNotFound,
        "coded frame needs calibration " + to_hex(*header.basis) + ", here is " + to_hex(calibration.id),
        "use the same calibration on both sides"};
  }
  if (channels_of(header.shape) != static_cast<std::int64_t>(calibration.channels())) {
    return Error{Errc::kBadFormat,
                 "coded frame has " + std::to_string(channels_of(header.shape)) +
                     " channels, its calibration " + std::to_string(calibration.channels()),
                 ""};
  }
  return {};
}

Result<void> check_calibrated_previous(const FrameHeader& header, std::optional<std::uint32_t> checksum,
                                       std::size_t rows) {
  if (!header.previous) return {};
  if (checksum != header.previous) return previous_frame_not_here();
  if (rows != static_cast<std::size_t>(rows_of(header.shape))) {
    return broken_calibrated_frame("it predicts from a frame of another shape");
  }
  return {};
}

Result<void> check_latents(const CalibratedParams& params, std::size_t wanted, std::size_t given,
                           std::size_t previous) {
  if (given != wanted) {
    return Error{Errc::kInvalidArgument,
                 "a calibrated frame of " + std::to_string(wanted) + " latent values was given " +
                     std::to_string(given),
                 ""};
  }
  if (params.uses_history() && previous != wanted) {
    return Error{Errc::kNotFound, "coded frame predicts from latents of the step before, which are not here",
                 "ask the sender to restart the stream"};
  }
  return {};
}

ComponentParams component_classes(std::span<const std::uint8_t> levels, const CalibratedParams& params) {
  ComponentParams components;
  components.shapes = params.shapes;
  components.band_scales = params.bands.scales;
  for (const std::uint8_t level : levels) {
    const int deviation = kStepsPerOctave / kLevelsPerOctave * (level - kLevelZero) - params.step_log2;
    const int scale = ((kScalesPerOctave * deviation + kScaleOfOne) >> 6) + params.scale_offset;
    components.scales.push_back(
        static_cast<std::uint8_t>(std::clamp(scale, 0, max_scale(params.shapes.wide))));
  }
  return components;
}

RowBands frequency_bands(const TokenGrid& grid, std::size_t rows) {
  return RowBands(frequency_classes(grid, rows), kFrequencyClasses);
}

Result<RowBands> decode_order(const CalibratedBody& body, std::size_t rows, LastBands last,
                              IndexTables& tables) {
  if (body.params.layout == RowLayout::kBands) {
    return decode_bands(body.params.bands, body.band_map, rows, last, tables);
  }
  if (body.params.layout == RowLayout::kTokens) return RowBands(rows);
  return frequency_bands(body.params.grid, rows);
}

std::vector<std::uint8_t> bands_left_by(const CalibratedParams& params, const RowBands& bands) {
  if (params.layout != RowLayout::kBands) return {};
  return bands.band_of_row();
}

void advance_components(const CalibratedParams& params, const RowBands& bands,
                        std::span<const std::int32_t> indices, ChunkPool& pool, Matrix& prediction) {
  const std::size_t rows = bands.rows();
  std::vector<float> step_of_row(rows, params.step(0));
  std::size_t place = 0;
  for (std::size_t band = 0; band < bands.count(); ++band) {
    for (; place < bands.ends()[band]; ++place) step_of_row[bands.row_at(place)] = params.step(band);
  }
  const std::size_t places = indices.size() / prediction.rows;
  PINION_ASSERT(places <= rows && places * prediction.rows == indices.size());
  std::vector<float> residuals(pool.threads() * rows);
  pool.run_in_groups(prediction.rows, kComponentsTogether, [&](std::size_t k, std::size_t worker) {
    const std::span<const std::int32_t> coded = indices.subspan(k * places, places);
    const std::span<float> residual = std::span(residuals).subspan(worker * rows, rows);
    if (places < rows) std::fill(residual.begin(), residual.end(), 0.0f);
    for (std::size_t i = 0; i < places; ++i) residual[bands.row_at(i)] = static_cast<float>(coded[i]);
    for (std::size_t r = 0; r < rows; ++r) residual[r] *= step_of_row[r];
    if (params.layout == RowLayout::kCoefficients) restore_grid(params.grid, residual);
    float* const row = prediction.row(k).data();
    for (std::size_t r = 0; r < rows; ++r) {
      const float value = row[r] + residual[r];
      row[r] = value > kMaxComponent    ? kMaxComponent
               : value < -kMaxComponent ? -kMaxComponent
               : value == value         ? value
                                        : 0.0f;
    }
  });
}

std::uint8_t shapes_byte(const CalibratedParams& params) {
  const int parts = (params.has_scales ? kHasScales : 0) |
                    (params.layout == RowLayout::kBands ? kHasBands : 0) |
                    (params.layout == RowLayout::kCoefficients ? kIsTransformed : 0) |
                    (params.has_low ? kHasLowFrequencies : 0);
  return static_cast<std::uint8_t>(params.shapes.rare | params.shapes.wide << kShapeBits | parts);
}

Result<void> read_shapes(std::uint8_t byte, CalibratedParams& params) {
  params.shapes.rare = byte & (kShapes - 1);
  params.shapes.wide = byte >> kShapeBits & (kShapes - 1);
  params.has_scales = (byte & kHasScales) != 0;
  params.has_low = (byte & kHasLowFrequencies) != 0;
  params.layout = (byte & kHasBands) != 0 ? RowLayout::kBands : RowLayout::kTokens;
  if ((byte & kIsTransformed) == 0) return {};
  if (params.layout == RowLayout::kBands || params.has_low)
    return broken_calibrated_frame("both a transform and bands or low frequencies");
  params.layout = RowLayout::kCoefficients;
  return {};
}

Result<void> check_step(const CalibratedParams& params) {
  if (params.step_log2 >= kMinStepLog2 && params.step_log2 <= kMaxStepLog2) return {};
  return broken_calibrated_frame("impossible step");
}

void write_calibrated_params(ByteWriter& out, const CalibratedParams& params, bool change) {
  out.write(static_cast<std::uint8_t>(params.predictor));
  out.write(params.position);
  out.write(params.step_log2);
  out.write(params.output_snr);
  out.write(shapes_byte(params));
  out.write(params.scale_offset);
  if (change) out.write(params.delta_sigma);
}

void write_grid(ByteWriter& out, const TokenGrid& grid) {
  out.write(static_cast<std::uint16_t>(grid.columns));
  out.write(static_cast<std::uint16_t>(grid.lines));
}

Result<TokenGrid> read_grid(ByteReader& in, std::size_t rows) {
  TokenGrid grid;
  grid.columns = in.read<std::uint16_t>();
  grid.lines = in.read<std::uint16_t>();
  PINION_TRY_VOID(in.check("calibrated frame"));
  if (!is_whole_pictures(rows, grid)) return broken_calibrated_frame("its rows are no whole pictures");
  return grid;
}

void write_scales(ByteWriter& out, std::span<const std::uint8_t> levels, const CalibratedParams& params,
                  const ComponentParams& classes) {
  BitWriter bits;
  write_differences(bits, classes.scales, component_classes(levels, params).scales);
  const Bytes packed = std::move(bits).finish();
  write_varint(out, packed.size());
  out.write_bytes(packed);
}

Result<void> read_scales(ByteReader& in, ComponentParams& components) {
  PINION_TRY(const std::uint64_t size, read_varint(in, "calibrated frame"));
  const ByteSpan packed = in.take(size);
  PINION_TRY_VOID(in.check("calibrated frame"));
  BitReader bits(packed);
  const std::vector<std::uint8_t> expected = components.scales;
  PINION_TRY(components.scales,
             read_differences(bits, expected.size(), max_scale(components.shapes.wide), expected));
  if (bits.ends_cleanly() && bits.bytes_read() == packed.size()) return {};
  return broken_calibrated_frame("its scales do not end cleanly");
}

Result<CalibratedParams> read_calibrated_params(ByteReader& in) {
  CalibratedParams params;
  const auto predictor = in.read<std::uint8_t>();
  params.position = in.read<std::uint16_t>();
  params.step_log2 = in.read<std::int16_t>();
  params.output_snr = in.read<std::int16_t>();
  const auto shapes = in.read<std::uint8_t>();
  params.scale_offset = in.read<std::int8_t>();
  PINION_TRY_VOID(in.check("calibrated frame"));
  if (predictor > static_cast<std::uint8_t>(CalibratedPredictor::kHistory)) {
    return broken_calibrated_frame("unknown predictor");
  }
  params.predictor = static_cast<CalibratedPredictor>(predictor);
  PINION_TRY_VOID(check_step(params));
  PINION_TRY_VOID(read_shapes(shapes, params));
  return params;
}

Result<CalibratedBody> parse_calibrated(const ParsedFrame& frame, const Calibration& calibration) {
  ByteReader in(frame.body);
  CalibratedBody body;
  CalibratedParams& params = body.params;
  PINION_TRY(params, read_calibrated_params(in));
  if (params.position > last_position(calibration))
    return broken_calibrated_frame("it is beyond the calibrated schedule");
  if (params.uses_history() && calibration.latents() > 0) {
    params.delta_sigma = in.read<float>();
    PINION_TRY_VOID(in.check("calibrated frame"));
    if (!(std::isfinite(params.delta_sigma) && std::abs(params.delta_sigma) >= kMinDeltaSigma)) {
      return broken_calibrated_frame("impossible change of sigma");
    }
  }
  if (frame.header.previous.has_value() != (params.uses_history() && calibration.has_history)) {
    return broken_calibrated_frame("its predictor and its flags differ");
  }
  const auto rows = static_cast<std::size_t>(rows_of(frame.header.shape));
  if (params.layout == RowLayout::kBands) {
    PINION_TRY(body.band_map, read_bands(in, frame.header.previous.has_value(), params.bands));
  } else if (params.layout == RowLayout::kCoefficients) {
    PINION_TRY(params.grid, read_grid(in, rows));
    params.bands.count = kFrequencyClasses;
    PINION_TRY_VOID(read_band_scales(in, params.bands));
  }
  const std::vector<std::uint8_t> levels = levels_at(calibration, params.position, params.predictor);
  if (params.has_low) {
    PINION_TRY(body.low, read_low_frequencies(in, rows, levels));
  }
  body.components = component_classes(levels, params);
  if (params.has_scales) PINION_TRY_VOID(read_scales(in, body.components));
  PINION_TRY(body.chunks, parse_index_chunks(in, body.components, rows));
  return body;
}

}  // namespace pinion::codec
