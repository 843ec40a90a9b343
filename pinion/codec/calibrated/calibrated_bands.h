#pragma once
// Rows in bands of calibrated frames, each band with a step of its own (docs/format.md §12.6). Pure functions
// but for the tables they fill.

#include <vector>

#include "pinion/base/bytes.h"
#include "pinion/codec/indices/index_tables.h"
#include "pinion/codec/indices/row_bands.h"

namespace pinion::codec {

inline constexpr int kMaxStepGrowth = 255;

// kBadFormat: what is wrong with a frame of mode 6.
Error broken_calibrated_frame(std::string_view what);

// The step grows by the same factor from each band to the next.
struct CalibratedBands {
  std::size_t count = 1;
  int step_growth = 0;                    // in the unit of the steps, 0 to kMaxStepGrowth
  std::vector<std::int8_t> scales = {0};  // of each band, added to the components' scales; the first is 0
};

// Which band each row lies in, as the frame has it.
struct CalibratedBandMap {
  std::uint8_t first_band = 0;  // expected of every row where the frame predicts from none
  IndexClass map_class;
  ByteSpan bytes;
};

// The band that each row had in the frame that this one predicts from; empty if all had the first. Null for
// frames that predict from none.
using LastBands = const std::vector<std::uint8_t>*;

// The scales of all bands but the first. kBadFormat if they are impossible; `params` has a count.
void write_band_scales(ByteWriter& out, const CalibratedBands& params);
Result<void> read_band_scales(ByteReader& in, CalibratedBands& params);

// `bands` has params.count bands, at least two.
void write_bands(ByteWriter& out, const CalibratedBands& params, const RowBands& bands, LastBands last,
                 IndexTables& tables);

// Reads the parameters; the map stays as it is. kBadFormat if they are impossible.
Result<CalibratedBandMap> read_bands(ByteReader& in, bool has_last, CalibratedBands& params);

// The bands of a frame's rows; `last`, if there is one, is of as many rows or empty.
Result<RowBands> decode_bands(const CalibratedBands& params, const CalibratedBandMap& map, std::size_t rows,
                              LastBands last, IndexTables& tables);

}  // namespace pinion::codec
