// docs/format.md §6.2 (component parameters), §6.3 (grid and chunks) and §7 (basis asset).

#include <algorithm>
#include <cmath>

#include "pinion/base/crc32c.h"
#include "pinion/codec/reference/reference_parts.h"

namespace pinion::codec {
namespace {

constexpr std::uint64_t kMaxNumber = (std::uint64_t{1} << 31) - 1;
constexpr int kMaxExponent = 24;

Result<int> read_rice_parameter(ReferenceReader& in, std::string_view name) {
  PINION_TRY(const std::uint64_t low_bits, in.bits(std::string(name) + " Rice parameter", 3));
  return static_cast<int>(low_bits);
}

std::string indexed(std::string_view name, std::size_t i) {
  return std::string(name) + " " + std::to_string(i);
}

}  // namespace

// ---- §6.2 Component parameters

ReferenceClass ReferenceParams::class_of(std::size_t component, std::size_t band) const {
  if (scales[component] == 0) return {};
  const int scale = std::clamp(scales[component] + band_scales[band], 0, reference_max_scale(wide_shape));
  return {scale <= 11 ? rare_shape : wide_shape, scale};
}

Result<std::vector<int>> read_reference_differences(ReferenceReader& in, std::string_view name,
                                                    std::size_t count, int most,
                                                    const std::vector<int>* base) {
  PINION_TRY(const int low_bits, read_rice_parameter(in, name));
  std::vector<int> values;
  for (std::size_t i = 0; i < count; ++i) {
    int p = values.empty() ? 0 : values.back();
    if (base != nullptr) p = i < base->size() ? (*base)[i] : 0;
    PINION_TRY(const std::uint64_t coded, in.rice(indexed(name, i), low_bits));
    const int difference = coded % 2 == 0 ? static_cast<int>(coded / 2) : -static_cast<int>(coded / 2) - 1;
    const int value = p + difference;
    if (value < 0 || value > most) return refused(std::string(name) + " is out of its range");
    in.explain(std::to_string(value));
    values.push_back(value);
  }
  return values;
}

Result<ReferenceParams> read_reference_params(ReferenceReader& in, const ReferenceParamsKind& kind) {
  ReferenceParams params;
  params.band_scales.assign(kind.bands, 0);
  PINION_TRY(const std::uint64_t rare, in.bits("rare_shape", 2));
  PINION_TRY(const std::uint64_t wide, in.bits("wide_shape", 2));
  params.rare_shape = static_cast<int>(rare);
  params.wide_shape = static_cast<int>(wide);
  if (kind.components == 0) return params;

  const std::vector<int>* base = nullptr;
  if (kind.references > 0) {
    PINION_TRY(const std::uint64_t from_last, in.bits("from_last", 1));
    if (from_last == 1) {
      if (kind.last_scales->empty()) return refused("from_last without scales in the state");
      base = kind.last_scales;
    }
  }
  PINION_TRY(params.scales, read_reference_differences(in, "scale", kind.components,
                                                       reference_max_scale(params.wide_shape), base));
  for (std::size_t band = 0; band + 1 < kind.bands; ++band) {
    PINION_TRY(const std::uint64_t written, in.bits("band_scale + 31", 6, {0, 62}));
    params.band_scales[band] = static_cast<int>(written) - 31;
  }
  if (kind.references > 0) {
    PINION_TRY(const std::uint64_t last_predictor, in.bits("predictors - 1", 4));
    std::vector<ReferenceParams::Predictor> predictors(last_predictor + 1);
    for (ReferenceParams::Predictor& predictor : predictors) {
      PINION_TRY(const std::uint64_t first, in.bits("coefficient of reference 0", 8));
      predictor.first = static_cast<std::int64_t>(first);
      if (kind.references < 2) continue;
      PINION_TRY(const std::uint64_t second, in.bits("coefficient of reference 1, + 128", 8));
      predictor.second = static_cast<std::int64_t>(second) - 128;
    }
    PINION_TRY(const int low_bits, read_rice_parameter(in, "predictor_of"));
    for (std::size_t k = 0; k < kind.components; ++k) {
      PINION_TRY(const std::uint64_t i, in.rice(indexed("predictor_of", k), low_bits));
      if (i >= predictors.size()) return refused("a component has a predictor that is not there");
      params.predictors.push_back(predictors[i]);
    }
  }
  if (!kind.has_offsets) return params;
  for (int scale = 1; scale <= 16; ++scale) {
    bool occurs = false;
    for (std::size_t k = 0; k < kind.components; ++k) {
      for (std::size_t band = 0; band < kind.bands; ++band) occurs |= params.class_of(k, band).scale == scale;
    }
    if (!occurs) continue;
    ReferenceParams::Offsets& offsets = params.offsets_of_scale[static_cast<std::size_t>(scale)];
    PINION_TRY(const std::uint64_t one, in.bits("offset one of scale " + std::to_string(scale), 3));
    PINION_TRY(const std::uint64_t more, in.bits("offset more of scale " + std::to_string(scale), 3));
    offsets = {static_cast<std::int64_t>(one), static_cast<std::int64_t>(more)};
  }
  return params;
}

// ---- §6.3 Grid and chunks

namespace {

std::uint64_t parts_of(std::uint64_t whole, std::uint64_t part) {
  return std::max<std::uint64_t>(1, (whole + part - 1) / part);
}

// A piece of the matrix: of the active components, and of the places in coded order.
struct Piece {
  std::size_t first_component, end_component;
  std::size_t first_place, end_place;
};

Result<void> read_piece(ReferenceChunk& chunk, const ReferenceParams& params, const ReferenceMatrix& matrix,
                        const std::vector<std::size_t>& active, const Piece& piece, ReferenceTables& tables,
                        ReferenceIntegers& integers) {
  for (std::size_t i = piece.first_component; i < piece.end_component; ++i) {
    const std::size_t k = active[i];
    std::size_t band_begin = 0;
    for (std::size_t band = 0; band < matrix.rows_of_band.size(); ++band) {
      const std::size_t band_end = band_begin + matrix.rows_of_band[band];
      const std::size_t from = std::max(band_begin, piece.first_place);
      const std::size_t to = std::min(band_end, piece.end_place);
      const ReferenceClass run_class = params.class_of(k, band);
      if (from < to && run_class.scale > 0) {
        const std::span<std::int64_t> run = std::span(integers.components[k]).subspan(from, to - from);
        PINION_TRY_VOID(read_reference_run(chunk, run_class, tables,
                                           indexed("component", k) + indexed(", band", band), run));
      }
      band_begin = band_end;
    }
  }
  return {};
}

}  // namespace

Result<ReferenceIntegers> read_reference_grid(ReferenceReader& in, const ReferenceParams& params,
                                              const ReferenceMatrix& matrix, ReferenceTables& tables) {
  PINION_TRY(const std::uint64_t lanes_log2, in.number("lanes_log2", 1, {0, 5}));
  PINION_TRY(const std::uint64_t tile_rows, in.varint("tile_rows", {1, kMaxNumber}));
  PINION_TRY(const std::uint64_t group_components, in.varint("group_components", {1, kMaxNumber}));
  std::size_t rows = 0;
  for (const std::size_t count : matrix.rows_of_band) rows += count;
  std::vector<std::size_t> active;
  for (std::size_t k = 0; k < params.scales.size(); ++k) {
    if (params.scales[k] > 0) active.push_back(k);
  }
  const std::uint64_t groups = parts_of(active.size(), group_components);
  const std::uint64_t tiles = parts_of(rows, tile_rows);
  std::vector<std::uint64_t> sizes;
  for (std::uint64_t i = 0; i < groups * tiles; ++i) {
    PINION_TRY(const std::uint64_t size, in.varint("chunk size", {0, kMaxNumber}));
    sizes.push_back(size);
  }

  ReferenceIntegers integers;
  integers.means.assign(matrix.channels, 0);
  integers.components.assign(params.scales.size(), std::vector<std::int64_t>(rows, 0));
  for (std::uint64_t i = 0; i < sizes.size(); ++i) {
    const std::uint64_t group = i / tiles, tile = i % tiles;
    PINION_TRY(const ReferenceReader part, in.part(sizes[i]));
    PINION_TRY(ReferenceChunk chunk, ReferenceChunk::open(part, std::size_t{1} << lanes_log2));
    if (i == 0 && matrix.mean_class && matrix.mean_class->scale > 0) {
      PINION_TRY_VOID(read_reference_run(chunk, *matrix.mean_class, tables, "means", integers.means));
    }
    const Piece piece = {group * group_components,
                         std::min<std::uint64_t>(active.size(), (group + 1) * group_components),
                         tile * tile_rows, std::min<std::uint64_t>(rows, (tile + 1) * tile_rows)};
    PINION_TRY_VOID(read_piece(chunk, params, matrix, active, piece, tables, integers));
    PINION_TRY_VOID(chunk.end());
  }
  PINION_TRY_VOID(in.end("the last chunk"));
  return integers;
}

// ---- §7 The basis asset

Result<ReferenceBasis> read_reference_basis(ByteSpan asset, const BasisLimits& limits,
                                            ReferenceTables& tables, ReferenceLog* log) {
  if (asset.size() < 9) return Error{Errc::kNeedMoreBytes, "a basis is cut short", ""};
  const ByteSpan content = asset.first(asset.size() - 4);
  ReferenceReader in(content, log);
  PINION_TRY(const ByteSpan magic, in.bytes("magic", 4));
  if (as_text(magic) != "PNB1") return refused("a basis starts with PNB1");
  PINION_TRY(const std::uint64_t version, in.number("version", 1));
  if (version != 1) return Error{Errc::kUnsupported, "a basis of another version", ""};
  PINION_TRY(const std::uint64_t checksum, ReferenceReader(asset.last(4)).number("checksum", 4));
  if (checksum != crc32c(content)) return refused("the checksum of a basis does not match");
  PINION_TRY(const std::uint64_t channels, in.varint("channels", {1, kMaxNumber}));
  PINION_TRY(const std::uint64_t components, in.varint("components", {1, channels}));
  if (channels > limits.max_channels || channels * components > limits.max_coefficients) {
    return Error{Errc::kTooLarge, "the basis has more coefficients than the receiver accepts", ""};
  }
  PINION_TRY(const std::uint64_t head_bytes, in.varint("head_bytes"));
  PINION_TRY(ReferenceReader head, in.part(head_bytes));
  PINION_TRY(const std::vector<int> exponents,
             read_reference_differences(head, "exponent", components, kMaxExponent, nullptr));
  PINION_TRY(const ReferenceParams params, read_reference_params(head, {.components = components}));
  PINION_TRY_VOID(head.end_of_bits());
  PINION_TRY_VOID(head.end("the head"));
  PINION_TRY(
      const ReferenceIntegers integers,
      read_reference_grid(in, params, {.rows_of_band = {channels}, .mean_class = {}, .channels = 0}, tables));
  ReferenceBasis basis{.channels = channels, .rows = {}};
  for (std::size_t k = 0; k < components; ++k) {
    std::vector<float> row;
    for (const std::int64_t v : integers.components[k]) {
      row.push_back(std::ldexp(static_cast<float>(v), -exponents[k]));
    }
    basis.rows.push_back(std::move(row));
  }
  return basis;
}

}  // namespace pinion::codec
