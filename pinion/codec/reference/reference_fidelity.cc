// docs/format.md §6.1, §6.4 and §6.5: the body of mode 2, prediction, reconstruction.

#include <algorithm>
#include <cmath>
#include <limits>

#include "pinion/base/float_formats.h"
#include "pinion/codec/reference/reference_parts.h"

namespace pinion::codec {
namespace {

constexpr std::int64_t kMaxState = (1 << 30) - 1;
constexpr double kLeastStep = 0x1p-90;  // of the tolerance
constexpr double kMostValue = 0x1p126;

// §6.1 up to the grid.
struct Body {
  float step = 0;
  int mean_shift = 0;
  std::vector<std::int64_t> ratios;  // of each reference
  std::size_t components = 0;
  std::size_t bands = 0;
  ReferenceClass mean_class;
  std::int64_t mean_coefficient = 0;
  ReferenceClass band_class;
  ReferenceParams params;
};

Result<void> read_parameters(ReferenceReader in, const ReferenceState* previous, Body& body) {
  PINION_TRY(body.mean_class, read_reference_class(in, "mean_class"));
  if (!body.ratios.empty()) {
    PINION_TRY(const std::uint64_t coefficient, in.bits("mean_coefficient", 8));
    body.mean_coefficient = static_cast<std::int64_t>(coefficient);
  }
  if (body.bands > 1) {
    PINION_TRY(body.band_class, read_reference_class(in, "band_class"));
  }
  PINION_TRY(body.params,
             read_reference_params(in, {.components = body.components,
                                        .bands = body.bands,
                                        .references = body.ratios.size(),
                                        .has_offsets = true,
                                        .last_scales = previous == nullptr ? nullptr : &previous->scales}));
  PINION_TRY_VOID(in.end_of_bits());
  return in.end("the parameters");
}

Result<Body> read_body(ReferenceReader& in, std::size_t most_components, const ReferenceState* previous) {
  Body body;
  PINION_TRY(body.step, in.f32("step"));
  if (!std::isnormal(body.step) || body.step < 0) return refused("the step is not a normal positive number");
  PINION_TRY(const std::uint64_t mean_shift, in.number("mean_shift", 1, {0, 8}));
  body.mean_shift = static_cast<int>(mean_shift);
  if (previous != nullptr) {
    PINION_TRY(const std::uint64_t references,
               in.number("references", 1, {1, previous->older.empty() ? std::uint64_t{1} : 2}));
    for (std::uint64_t i = 0; i < references; ++i) {
      PINION_TRY(const std::uint64_t ratio, in.varint("ratio", {1, 1 << 20}));
      body.ratios.push_back(static_cast<std::int64_t>(ratio));
    }
  }
  PINION_TRY(body.components, in.varint("components", {0, most_components}));
  PINION_TRY(body.bands, in.number("bands", 1, {1, 8}));
  PINION_TRY(const std::uint64_t parameter_bytes, in.varint("parameter_bytes"));
  PINION_TRY(const ReferenceReader parameters, in.part(parameter_bytes));
  PINION_TRY_VOID(read_parameters(parameters, previous, body));
  return body;
}

// §6.3.
struct Rows {
  std::vector<std::size_t> band_of;  // of each row
  std::vector<std::size_t> order;    // the rows, band after band
};

Result<Rows> read_band_map(ReferenceReader& in, const Body& body, std::size_t count,
                           ReferenceTables& tables) {
  std::vector<std::int64_t> values(count, 0);
  if (body.bands > 1) {
    PINION_TRY(const std::uint64_t map_bytes, in.varint("map_bytes"));
    PINION_TRY(const ReferenceReader map, in.part(map_bytes));
    if (body.band_class.scale > 0) {
      PINION_TRY(ReferenceChunk chunk, ReferenceChunk::open(map, 1));
      PINION_TRY_VOID(read_reference_run(chunk, body.band_class, tables, "bands - 1", values));
      PINION_TRY_VOID(chunk.end());
    } else {
      PINION_TRY_VOID(map.end("a map without a class"));
    }
    for (std::int64_t& value : values) ++value;
  }
  Rows rows;
  for (const std::int64_t band : values) {
    if (band < 0 || band >= static_cast<std::int64_t>(body.bands)) return refused("a row is in no band");
    rows.band_of.push_back(static_cast<std::size_t>(band));
  }
  for (std::size_t band = 0; band < body.bands; ++band) {
    for (std::size_t r = 0; r < count; ++r) {
      if (rows.band_of[r] == band) rows.order.push_back(r);
    }
  }
  return rows;
}

std::int64_t offset_of(const ReferenceParams& params, std::size_t k, std::size_t band, std::int64_t q) {
  const auto scale = static_cast<std::size_t>(params.class_of(k, band).scale);
  if (q == 0 || scale >= params.offsets_of_scale.size()) return 0;
  const ReferenceParams::Offsets& offsets = params.offsets_of_scale[scale];
  const std::int64_t size = q == 1 || q == -1 ? offsets.one : offsets.more;
  return q > 0 ? size : -size;
}

// §6.4: s(k, r) of a list of components, 0 where there is no component k.
std::int64_t value_at(const std::vector<std::vector<std::int64_t>>& components, std::size_t k,
                      std::size_t r) {
  return k < components.size() ? components[k][r] : 0;
}

Result<void> advance_means(const Body& body, const std::vector<std::int64_t>& residuals,
                           const ReferenceState* previous, ReferenceState& state) {
  for (std::size_t c = 0; c < state.channels; ++c) {
    std::int64_t p = 0;
    if (previous != nullptr) {
      const int shift = 22 - body.mean_shift + previous->mean_shift;
      const std::int64_t sum = body.mean_coefficient * body.ratios[0] * previous->means[c];
      p = (sum + (std::int64_t{1} << (shift - 1))) >> shift;
    }
    const std::int64_t m = p + 16 * residuals[c];
    if (m > kMaxState || m < -kMaxState) return refused("a mean leaves its range");
    state.means.push_back(m);
  }
  return {};
}

Result<void> advance_component(const Body& body, std::size_t k, const std::vector<std::int64_t>& residuals,
                               const Rows& rows, const ReferenceState* previous, ReferenceState& state) {
  std::vector<std::int64_t> component(state.rows);
  for (std::size_t place = 0; place < state.rows; ++place) {
    const std::size_t r = rows.order[place];
    std::int64_t p = 0;
    if (previous != nullptr) {
      const ReferenceParams::Predictor predictor = body.params.predictors[k];
      std::int64_t sum = predictor.first * body.ratios[0] * value_at(previous->components, k, r);
      if (body.ratios.size() > 1) sum += predictor.second * body.ratios[1] * value_at(previous->older, k, r);
      p = (sum + (1 << 21)) >> 22;
    }
    const std::int64_t q = residuals[place];
    const std::int64_t s = p + 16 * q - offset_of(body.params, k, rows.band_of[r], q);
    if (s > kMaxState || s < -kMaxState) return refused("a component leaves its range");
    component[r] = s;
  }
  state.components.push_back(std::move(component));
  return {};
}

// §6.5.
float largest_finite(DType dtype) {
  if (dtype == DType::kF16) return 65504.0f;
  if (dtype == DType::kBF16) return bf16_to_float(0x7f7f);
  return std::numeric_limits<float>::max();
}

ReferenceFrame reconstruct(const ReferenceHeader& header, const ReferenceState& state, float step,
                           const ReferenceBasis* basis) {
  ReferenceFrame frame;
  const double unit = static_cast<double>(step) / 16;
  const double mean_unit = std::ldexp(unit, -state.mean_shift);
  const std::size_t components = state.components.size();
  const double least_share = (static_cast<double>(components) + 4) * 0x1p-23;
  std::vector<float> rounded;
  for (std::size_t r = 0; r < state.rows; ++r) {
    bool in_bounds = static_cast<double>(step) >= kLeastStep;
    for (std::size_t k = 0; k < components; ++k) {
      in_bounds &= std::abs(static_cast<double>(state.components[k][r])) * step < kMostValue;
    }
    for (std::size_t c = 0; c < state.channels; ++c) {
      double y = static_cast<double>(state.means[c]) * mean_unit;
      double a = std::abs(y);
      const auto add = [&](std::size_t k, double b) {
        const double term = static_cast<double>(state.components[k][r]) * unit * b;
        y += term;
        a += std::abs(term);
      };
      if (basis == nullptr && c < components) add(c, 1);
      for (std::size_t k = 0; k < components && basis != nullptr; ++k) add(k, basis->rows[k][c]);
      frame.values.push_back(y);
      frame.tolerances.push_back(in_bounds && a < kMostValue ? least_share * a
                                                             : std::numeric_limits<double>::infinity());
      const double limit = largest_finite(header.dtype);
      rounded.push_back(static_cast<float>(std::clamp(y, -limit, limit)));
    }
  }
  frame.tensor = Tensor::empty(header.dtype, header.shape);
  from_float(rounded.data(), frame.tensor.elements(), header.dtype, frame.tensor.mutable_data());
  return frame;
}

void log_state(const ReferenceReader& in, const ReferenceState& state) {
  if (!in.logs()) return;
  const auto text = [](const std::vector<std::int64_t>& values) {
    std::string line;
    for (const std::int64_t value : values) line += (line.empty() ? "" : " ") + std::to_string(value);
    return line;
  };
  in.remark("state: means", text(state.means));
  for (std::size_t k = 0; k < state.components.size(); ++k) {
    in.remark("state: component " + std::to_string(k), text(state.components[k]));
  }
}

}  // namespace

Result<ReferenceFidelity> decode_reference_fidelity(const ReferenceHeader& header, ReferenceReader in,
                                                    const ReferenceBasis* basis,
                                                    const ReferenceState* previous, ReferenceTables& tables) {
  PINION_TRY(const Body body,
             read_body(in, basis == nullptr ? header.channels : basis->rows.size(), previous));
  PINION_TRY(const Rows rows, read_band_map(in, body, header.rows, tables));
  ReferenceMatrix matrix{.rows_of_band = std::vector<std::size_t>(body.bands),
                         .mean_class = body.mean_class,
                         .channels = header.channels};
  for (const std::size_t band : rows.band_of) ++matrix.rows_of_band[band];
  PINION_TRY(const ReferenceIntegers residuals, read_reference_grid(in, body.params, matrix, tables));

  ReferenceFidelity decoded;
  ReferenceState& state = decoded.state;
  state.checksum = header.checksum;
  state.basis = header.basis;
  state.rows = header.rows;
  state.channels = header.channels;
  state.mean_shift = body.mean_shift;
  state.scales = body.params.scales;
  if (previous != nullptr) state.older = previous->components;
  PINION_TRY_VOID(advance_means(body, residuals.means, previous, state));
  for (std::size_t k = 0; k < body.components; ++k) {
    PINION_TRY_VOID(advance_component(body, k, residuals.components[k], rows, previous, state));
  }
  log_state(in, state);
  decoded.frame = reconstruct(header, state, body.step, basis);
  return decoded;
}

}  // namespace pinion::codec
