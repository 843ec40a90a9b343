#include "pinion/codec/fidelity/fidelity_format.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "pinion/codec/indices/class_choice.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

constexpr int kShapeBits = 2;
constexpr int kScaleBits = 8;
constexpr int kCoefficientBits = 8;
constexpr int kCoefficientShift = 6;  // log2 kCoefficientOne
static_assert(1 << kCoefficientShift == kCoefficientOne);

Error broken(std::string_view what) {
  return Error{Errc::kBadFormat, "fidelity frame: " + std::string(what), ""};
}

Result<IndexClass> read_class(BitReader& in) {
  IndexClass index_class;
  index_class.shape = static_cast<std::uint8_t>(in.read(kShapeBits));
  index_class.scale = static_cast<std::uint8_t>(in.read(kScaleBits));
  if (index_class.scale > max_scale(index_class.shape)) return broken("impossible table class");
  return index_class;
}

void write_class(BitWriter& out, IndexClass index_class) {
  out.write(index_class.shape, kShapeBits);
  out.write(index_class.scale, kScaleBits);
}

// What is written for the components depends on what came before them.
ParamsKind params_kind(const FidelityParams& params, std::size_t bands, const StreamState* previous) {
  ParamsKind kind{.references = params.references, .bands = bands, .offsets = true, .last_scales = {}};
  if (params.references > 0) kind.last_scales = previous->last.scales;
  return kind;
}

Result<void> read_references(ByteReader& in, std::size_t most, FidelityParams& params) {
  params.references = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("fidelity frame"));
  if (params.references == 0 || params.references > most) return broken("impossible number of references");
  for (std::size_t i = 0; i < params.references; ++i) {
    PINION_TRY(const std::uint64_t ratio, read_varint(in, "fidelity frame"));
    if (ratio == 0 || ratio > kMaxRatio) return broken("impossible ratio of steps");
    params.ratios[i] = static_cast<std::uint32_t>(ratio);
  }
  return {};
}

// Adds previous * factor, where |previous| ≤ kMaxState and |factor| < 2^28, so
// that two of them keep within 64 bits.
void accumulate(std::span<const std::int32_t> previous, std::int64_t factor, std::span<std::int64_t> sum) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += previous[i] * factor;
}

// Rounds to nearest, ties up.
void shift_down(int shift, std::span<std::int64_t> sum) {
  const std::int64_t half = std::int64_t{1} << (shift - 1);
  for (std::int64_t& value : sum) value = (value + half) >> shift;
}

}  // namespace

void write_fidelity_params(ByteWriter& out, const FidelityParams& params, const StreamState* previous) {
  const std::size_t bands = params.components.band_scales.size();
  out.write(params.step);
  out.write(static_cast<std::uint8_t>(params.mean_shift));
  if (params.references > 0) {
    out.write(static_cast<std::uint8_t>(params.references));
    for (std::size_t i = 0; i < params.references; ++i) write_varint(out, params.ratios[i]);
  }
  write_varint(out, params.component_count());
  out.write(static_cast<std::uint8_t>(bands));
  BitWriter bits;
  write_class(bits, params.mean_class);
  if (params.references > 0) bits.write(params.mean_coefficient, kCoefficientBits);
  if (bands > 1) write_class(bits, params.band_class);
  write_params(bits, params.components, params_kind(params, bands, previous));
  const Bytes packed = std::move(bits).finish();
  write_varint(out, packed.size());
  out.write_bytes(packed);
}

Result<FidelityBody> parse_fidelity(const ParsedFrame& frame, std::size_t max_components,
                                    const StreamState* previous) {
  ByteReader in(frame.body);
  FidelityBody body;
  FidelityParams& params = body.params;
  params.step = in.read<float>();
  params.mean_shift = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("fidelity frame"));
  if (!std::isnormal(params.step) || params.step < 0) return broken("impossible step");
  if (params.mean_shift > kMaxMeanShift) return broken("impossible step of the means");
  if (frame.header.previous) PINION_TRY_VOID(read_references(in, previous->older.empty() ? 1 : 2, params));
  PINION_TRY(const std::uint64_t components, read_varint(in, "fidelity frame"));
  const auto bands = in.read<std::uint8_t>();
  PINION_TRY(const std::uint64_t packed_size, read_varint(in, "fidelity frame"));
  if (components > max_components) return broken("more components than the basis has");
  if (bands == 0 || bands > kMaxBands) return broken("impossible number of bands");
  const ByteSpan packed = in.take(packed_size);
  PINION_TRY_VOID(in.check("fidelity frame"));
  if (components > packed.size() * 8) return broken("its parameters are cut short");
  BitReader bits(packed);
  PINION_TRY(params.mean_class, read_class(bits));
  if (params.references > 0) params.mean_coefficient = static_cast<std::uint8_t>(bits.read(kCoefficientBits));
  if (bands > 1) {
    PINION_TRY(params.band_class, read_class(bits));
  }
  PINION_TRY(params.components, read_params(bits, components, params_kind(params, bands, previous)));
  if (!bits.ends_cleanly() || bits.bytes_read() != packed.size()) {
    return broken("its parameters do not end cleanly");
  }
  if (bands > 1) {
    PINION_TRY(const std::uint64_t map_size, read_varint(in, "fidelity frame"));
    body.band_map = in.take(map_size);
    PINION_TRY_VOID(in.check("fidelity frame"));
  }
  PINION_TRY(body.chunks, parse_index_chunks(in, params.components,
                                             static_cast<std::size_t>(rows_of(frame.header.shape))));
  return body;
}

Bytes encode_band_map(std::span<const std::uint8_t> band_of_row, FidelityParams& params,
                      IndexTables& tables) {
  std::vector<std::int32_t> values;
  for (const std::uint8_t band : band_of_row) values.push_back(band - kUsualBand);
  params.band_class = choose_class(values, tables).index_class;
  return encode_run(values, params.band_class, tables);
}

Result<RowBands> decode_band_map(const FidelityBody& body, std::size_t rows, IndexTables& tables) {
  const std::size_t bands = body.params.components.band_scales.size();
  if (bands == 1) return RowBands(rows);
  std::vector<std::int32_t> values(rows);
  PINION_TRY_VOID(decode_run(body.band_map, body.params.band_class, tables, values));
  std::vector<std::uint8_t> band_of_row;
  for (const std::int32_t value : values) {
    const std::int32_t band = value + kUsualBand;
    if (band < 0 || band >= static_cast<int>(bands)) return broken("a row has a band that is not there");
    band_of_row.push_back(static_cast<std::uint8_t>(band));
  }
  return RowBands(band_of_row, bands);
}

Predictor::Predictor(const FidelityParams& params, const StreamState* previous)
    : params_(params), previous_(params.references == 0 ? nullptr : previous) {}

void Predictor::component(std::size_t k, std::span<std::int64_t> out) const {
  std::fill(out.begin(), out.end(), 0);
  const std::size_t begin = k * out.size();
  for (std::size_t i = 0; i < params_.references; ++i) {
    const std::vector<std::int32_t>& reference = previous_->reference(i);
    const int coefficient = params_.components.predictors[params_.components.predictor_of[k]].coefficient(i);
    if (begin >= reference.size() || coefficient == 0) continue;
    accumulate(std::span(reference).subspan(begin, out.size()), std::int64_t{coefficient} * params_.ratios[i],
               out);
  }
  if (params_.references > 0) shift_down(kCoefficientShift + kRatioBits, out);
}

void Predictor::component(std::size_t k, std::span<std::int32_t> out) const {
  PredictionTerms terms{.shift = kCoefficientShift + kRatioBits};
  const std::size_t begin = k * out.size();
  for (std::size_t i = 0; i < params_.references; ++i) {
    const std::vector<std::int32_t>& reference = previous_->reference(i);
    const int coefficient = params_.components.predictors[params_.components.predictor_of[k]].coefficient(i);
    if (begin >= reference.size() || coefficient == 0) continue;
    terms.references[i] = reference.data() + begin;
    terms.factors[i] = coefficient * static_cast<std::int32_t>(params_.ratios[i]);
  }
  vector_loops().predict(terms, out.size(), out.data());
}

bool Predictor::stays_in_range(const std::array<std::int64_t, kMaxReferences>& largest) const {
  for (const PredictorSet& set : params_.components.predictors) {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < params_.references; ++i) {
      sum += std::abs(std::int64_t{set.coefficient(i)}) * params_.ratios[i] * largest[i];
    }
    if (sum > kMaxState << (kCoefficientShift + kRatioBits)) return false;
  }
  return true;
}

void Predictor::means(std::span<std::int64_t> out) const {
  std::fill(out.begin(), out.end(), 0);
  if (previous_ == nullptr) return;
  const FrameState& last = previous_->last;
  accumulate(last.means, std::int64_t{params_.mean_coefficient} * params_.ratios[0], out);
  shift_down(kCoefficientShift + kRatioBits - params_.mean_shift + last.mean_shift, out);
}

Result<void> advance_component(const ComponentStep& step, std::span<std::int32_t> state) {
  std::int64_t largest = 0;
  std::size_t place = 0;
  for (std::size_t band = 0; band < step.bands.count(); ++band) {
    const BinOffsets offsets = step.params.offsets_of(step.params.index_class(step.component, band));
    for (; place < step.bands.ends()[band]; ++place) {
      const std::size_t row = step.bands.row_at(place);
      const std::int64_t next = next_state(step.prediction[row], step.residuals[place], offsets);
      largest = std::max(largest, next < 0 ? -next : next);
      state[row] = static_cast<std::int32_t>(next);
    }
  }
  if (largest > kMaxState) return broken("a value leaves the range of the state");
  return {};
}

Result<void> advance_means(std::span<const std::int64_t> prediction, std::span<const std::int32_t> residuals,
                           std::span<std::int32_t> state) {
  for (std::size_t i = 0; i < state.size(); ++i) {
    const std::int64_t next = next_state(prediction[i], residuals[i], {});
    if (next > kMaxState || next < -kMaxState) return broken("a mean leaves the range of the state");
    state[i] = static_cast<std::int32_t>(next);
  }
  return {};
}

}  // namespace pinion::codec
