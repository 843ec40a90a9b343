#include "pinion/codec/calibrated/calibrated_bands.h"

#include <algorithm>

#include "pinion/codec/frame_format.h"
#include "pinion/codec/indices/class_choice.h"
#include "pinion/codec/indices/component_params.h"
#include "pinion/codec/indices/index_chunks.h"

namespace pinion::codec {
namespace {

// The band that is expected of each row, [rows].
std::vector<std::int32_t> expected_bands(std::size_t rows, std::size_t count, std::uint8_t first_band,
                                         LastBands last) {
  std::vector<std::int32_t> expected(rows, last == nullptr ? first_band : 0);
  if (last == nullptr || last->empty()) return expected;
  PINION_ASSERT(last->size() == rows);
  for (std::size_t r = 0; r < rows; ++r) {
    expected[r] = std::min<std::int32_t>((*last)[r], static_cast<std::int32_t>(count) - 1);
  }
  return expected;
}

// The band that most rows lie in.
std::uint8_t fullest_band(const RowBands& bands) {
  std::size_t fullest = 0, most = 0, begin = 0;
  for (std::size_t band = 0; band < bands.count(); ++band) {
    const std::size_t size = bands.ends()[band] - begin;
    if (size > most) fullest = band, most = size;
    begin = bands.ends()[band];
  }
  return static_cast<std::uint8_t>(fullest);
}

}  // namespace

Error broken_calibrated_frame(std::string_view what) {
  return Error{Errc::kBadFormat, "calibrated frame: " + std::string(what), ""};
}

void write_band_scales(ByteWriter& out, const CalibratedBands& params) {
  for (std::size_t band = 1; band < params.count; ++band) out.write(params.scales[band]);
}

Result<void> read_band_scales(ByteReader& in, CalibratedBands& params) {
  while (params.scales.size() < params.count) {
    params.scales.push_back(in.read<std::int8_t>());
    PINION_TRY_VOID(in.check("calibrated frame"));
    if (std::abs(params.scales.back()) > kMaxBandScale)
      return broken_calibrated_frame("impossible scale of a band");
  }
  return {};
}

Result<CalibratedBandMap> read_bands(ByteReader& in, bool has_last, CalibratedBands& params) {
  params.count = in.read<std::uint8_t>();
  params.step_growth = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("calibrated frame"));
  if (params.count < 2 || params.count > kMaxBands)
    return broken_calibrated_frame("impossible number of bands");
  PINION_TRY_VOID(read_band_scales(in, params));
  CalibratedBandMap map;
  if (!has_last) map.first_band = in.read<std::uint8_t>();
  map.map_class.shape = in.read<std::uint8_t>();
  map.map_class.scale = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("calibrated frame"));
  if (map.first_band >= params.count) return broken_calibrated_frame("a row has a band that is not there");
  if (map.map_class.shape >= kShapes || map.map_class.scale > max_scale(map.map_class.shape)) {
    return broken_calibrated_frame("impossible class of its bands");
  }
  PINION_TRY(const std::uint64_t size, read_varint(in, "calibrated frame"));
  map.bytes = in.take(size);
  PINION_TRY_VOID(in.check("calibrated frame"));
  return map;
}

void write_bands(ByteWriter& out, const CalibratedBands& params, const RowBands& bands, LastBands last,
                 IndexTables& tables) {
  out.write(static_cast<std::uint8_t>(params.count));
  out.write(static_cast<std::uint8_t>(params.step_growth));
  write_band_scales(out, params);
  const std::uint8_t first_band = fullest_band(bands);
  if (last == nullptr) out.write(first_band);
  const std::vector<std::uint8_t> band_of_row = bands.band_of_row();
  std::vector<std::int32_t> values(band_of_row.begin(), band_of_row.end());
  const std::vector<std::int32_t> expected = expected_bands(values.size(), params.count, first_band, last);
  for (std::size_t r = 0; r < values.size(); ++r) values[r] -= expected[r];
  const IndexClass map_class = choose_class(values, tables).index_class;
  out.write(static_cast<std::uint8_t>(map_class.shape));
  out.write(static_cast<std::uint8_t>(map_class.scale));
  const Bytes map = encode_run(values, map_class, tables);
  write_varint(out, map.size());
  out.write_bytes(map);
}

Result<RowBands> decode_bands(const CalibratedBands& params, const CalibratedBandMap& map, std::size_t rows,
                              LastBands last, IndexTables& tables) {
  const std::size_t count = params.count;
  std::vector<std::int32_t> values(rows);
  PINION_TRY_VOID(decode_run(map.bytes, map.map_class, tables, values));
  const std::vector<std::int32_t> expected = expected_bands(rows, count, map.first_band, last);
  std::vector<std::uint8_t> band_of_row;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::int32_t band = values[r] + expected[r];
    if (band < 0 || band >= static_cast<std::int32_t>(count)) {
      return broken_calibrated_frame("a row has a band that is not there");
    }
    band_of_row.push_back(static_cast<std::uint8_t>(band));
  }
  return RowBands(band_of_row, count);
}

}  // namespace pinion::codec
