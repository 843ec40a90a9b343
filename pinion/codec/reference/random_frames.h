#pragma once
// Frames of mode 2 that follow docs/format.md but that no encoder here would choose: every field takes values
// from all over its range. For tests. Pure functions but for the dice.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "pinion/codec/fidelity/fidelity_format.h"
#include "pinion/codec/reference/random_planes.h"

namespace pinion::codec::testing {

// Of any size up to `bits` bits, small ones as likely as large ones; either sign.
inline std::int32_t any_integer(Dice& dice, std::size_t bits) {
  const std::uint32_t size = dice.bits() & ((1u << below(dice, bits + 1)) - 1);
  return dice.bits() & 1 ? static_cast<std::int32_t>(size) : -static_cast<std::int32_t>(size);
}

inline IndexClass any_class(Dice& dice) {
  const std::uint8_t shape = byte_below(dice, kShapes);
  const auto scales = static_cast<std::size_t>(max_scale(shape)) + 1;
  return {shape, byte_below(dice, below(dice, 2) ? scales : 20)};
}

inline ComponentParams any_component_params(Dice& dice, std::size_t components, std::size_t bands,
                                            std::size_t references) {
  ComponentParams params;
  params.shapes = {byte_below(dice, kShapes), byte_below(dice, kShapes)};
  const auto most = static_cast<std::size_t>(max_scale(params.shapes.wide));
  // Neighbours differ little: differences are written with a bounded quotient.
  std::size_t scale = below(dice, 40);
  for (std::size_t k = 0; k < components; ++k) {
    scale =
        below(dice, 10) == 0 ? 0 : std::min(most, scale + below(dice, 5) - std::min<std::size_t>(scale, 2));
    params.scales.push_back(static_cast<std::uint8_t>(scale));
  }
  params.band_scales.assign(bands, 0);
  for (std::size_t band = 0; band + 1 < bands && components > 0; ++band) {
    params.band_scales[band] = static_cast<std::int8_t>(static_cast<int>(below(dice, 63)) - kMaxBandScale);
  }
  if (references > 0 && components > 0) {
    params.predictors.resize(1 + below(dice, kMaxPredictors));
    for (PredictorSet& set : params.predictors) {
      for (std::size_t i = 0; i < references; ++i) set.written[i] = byte_below(dice, 256);
    }
    for (std::size_t k = 0; k < components; ++k)
      params.predictor_of.push_back(byte_below(dice, params.predictors.size()));
  }
  for (BinOffsets& offsets : params.offsets)
    offsets = {byte_below(dice, kMaxOffset + 1), byte_below(dice, kMaxOffset + 1)};
  return params;
}

// Residuals of up to `bits` bits where a class allows any.
inline std::vector<std::int32_t> any_residuals(Dice& dice, const ComponentParams& params,
                                               std::span<const std::size_t> band_ends, std::size_t bits) {
  std::vector<std::int32_t> residuals;
  for (std::size_t k = 0; k < params.scales.size(); ++k) {
    std::size_t place = 0;
    for (std::size_t band = 0; band < band_ends.size(); ++band) {
      for (; place < band_ends[band]; ++place) {
        residuals.push_back(params.index_class(k, band).scale == 0 ? 0 : any_integer(dice, bits));
      }
    }
  }
  return residuals;
}

// Predicts from `previous` now and then, where it is not null.
inline Bytes any_fidelity_frame(Dice& dice, DType dtype, const Shape& shape, const Basis* basis,
                                const StreamState* previous) {
  const auto rows = static_cast<std::size_t>(rows_of(shape)),
             channels = static_cast<std::size_t>(channels_of(shape));
  const std::size_t bits = below(dice, 8) == 0 ? 26 : 12;
  FrameHeader header{Mode::kFidelity, dtype, shape, std::nullopt, std::nullopt};
  if (basis != nullptr) header.basis = basis->id;
  FidelityParams params;
  params.step = std::ldexp(static_cast<float>(1 + dice.uniform()), static_cast<int>(below(dice, 40)) - 30);
  params.mean_shift = static_cast<int>(below(dice, kMaxMeanShift + 1));
  if (previous != nullptr && below(dice, 4) != 0) {
    header.previous = previous->checksum;
    params.references = previous->older.empty() ? 1 : 1 + below(dice, 2);
    for (std::size_t i = 0; i < params.references; ++i) {
      params.ratios[i] = 1 + static_cast<std::uint32_t>(below(dice, below(dice, 4) ? 1u << 16 : kMaxRatio));
    }
    params.mean_coefficient = byte_below(dice, 256);
  }
  params.mean_class = any_class(dice);
  const std::size_t bands = 1 + below(dice, kMaxBands);
  params.components = any_component_params(
      dice, below(dice, (basis == nullptr ? channels : basis->rows.rows) + 1), bands, params.references);
  IndexTables tables;
  ChunkPool alone;
  RowBands row_bands(rows);
  Bytes band_map;
  if (bands > 1) {
    std::vector<std::uint8_t> band_of_row(rows, kUsualBand);
    const bool all_usual = below(dice, 4) == 0;
    for (std::uint8_t& band : band_of_row) band = all_usual ? band : byte_below(dice, bands);
    row_bands = RowBands(band_of_row, bands);
    band_map = encode_band_map(band_of_row, params, tables);
  }
  std::vector<std::int32_t> residuals = any_residuals(dice, params.components, row_bands.ends(), bits);
  std::vector<std::int32_t> means(channels);
  for (std::int32_t& mean : means) mean = params.mean_class.scale == 0 ? 0 : any_integer(dice, bits);

  ByteWriter body;
  write_fidelity_params(body, params, previous);
  if (bands > 1) {
    write_varint(body, band_map.size());
    body.write_bytes(band_map);
  }
  const ChunkGrid grid{1 << below(dice, 6), 1 + below(dice, rows + 3),
                       1 + below(dice, params.component_count() + 3)};
  write_index_chunks(body, grid,
                     {.params = params.components,
                      .band_ends = row_bands.ends(),
                      .values = residuals,
                      .lead_class = params.mean_class,
                      .lead = means},
                     tables, alone);
  return write_frame(header, body.view());
}

}  // namespace pinion::codec::testing
