#include "pinion/codec/index_chunks.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pinion::codec {
namespace {

constexpr double kBytesPerLane = 256;
constexpr double kBytesPerChunk = 16384;  // small enough for a GPU to find many of them in a large frame

std::size_t divide_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

struct ChunkCounts {
  std::size_t bands;
  std::size_t tiles;
};

ChunkCounts count_chunks(const ChunkGrid& grid, std::size_t active, std::size_t rows) {
  return {std::max<std::size_t>(1, divide_up(active, grid.band_components)),
          std::max<std::size_t>(1, divide_up(rows, grid.tile_rows))};
}

// Calls visit(component, first row, count) for every run of chunk (band, tile), in coding order.
template <class Visit>
void each_run(const ChunkGrid& grid, std::span<const std::size_t> active, std::size_t rows, std::size_t band,
              std::size_t tile, Visit visit) {
  const std::size_t first_row = tile * grid.tile_rows;
  const std::size_t count = std::min(grid.tile_rows, rows - first_row);
  const std::size_t end = std::min(active.size(), (band + 1) * grid.band_components);
  for (std::size_t i = band * grid.band_components; i < end; ++i) visit(active[i], first_row, count);
}

}  // namespace

std::vector<std::size_t> active_components(const ComponentParams& params) {
  std::vector<std::size_t> active;
  for (std::size_t k = 0; k < params.scales.size(); ++k) {
    if (params.scales[k] > 0) active.push_back(k);
  }
  return active;
}

ChunkGrid choose_grid(const ComponentParams& params, std::size_t rows, double bits) {
  const std::size_t active = std::max<std::size_t>(1, active_components(params).size());
  const double bytes = std::max(0.0, bits / 8);
  const auto chunks = std::max<std::size_t>(1, static_cast<std::size_t>(bytes / kBytesPerChunk));
  const std::size_t bands = std::min(chunks, active);
  const std::size_t tiles = std::min(divide_up(chunks, bands), std::max<std::size_t>(1, rows));
  const auto lanes = static_cast<unsigned>(
      std::clamp(bytes / static_cast<double>(bands * tiles) / kBytesPerLane, 1.0, double{kMaxLanes}));
  return {1 << (std::bit_width(lanes) - 1), std::max<std::size_t>(1, divide_up(rows, tiles)),
          divide_up(active, bands)};
}

void write_index_chunks(ByteWriter& out, const ChunkGrid& grid, const IndexMatrix& matrix,
                        IndexTables& tables) {
  const std::vector<std::size_t> active = active_components(matrix.params);
  const ChunkCounts counts = count_chunks(grid, active.size(), matrix.rows);
  out.write(static_cast<std::uint8_t>(std::bit_width(static_cast<unsigned>(grid.lanes)) - 1));
  write_varint(out, grid.tile_rows);
  write_varint(out, grid.band_components);

  struct Run {
    std::size_t component, first_row, count;
  };
  ByteWriter data;
  for (std::size_t band = 0; band < counts.bands; ++band) {
    for (std::size_t tile = 0; tile < counts.tiles; ++tile) {
      std::vector<Run> runs;
      each_run(grid, active, matrix.rows, band, tile,
               [&](std::size_t k, std::size_t first, std::size_t count) {
                 runs.push_back({k, first, count});
               });
      ChunkEncoder chunk(grid.lanes);
      for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
        encode_indices(chunk, grid.lanes, tables, matrix.params.index_class(run->component),
                       matrix.values.subspan(run->component * matrix.rows + run->first_row, run->count));
      }
      if (band == 0 && tile == 0 && matrix.lead_class.scale > 0) {
        encode_indices(chunk, grid.lanes, tables, matrix.lead_class, matrix.lead);
      }
      write_varint(out, chunk.finish(data));
    }
  }
  out.write_bytes(data.view());
}

Result<IndexChunks> parse_index_chunks(ByteReader& in, const ComponentParams& params, std::size_t rows) {
  const auto broken = [](std::string_view what) {
    return Error{Errc::kBadFormat, "coded indices: " + std::string(what), ""};
  };
  const auto lanes_log2 = in.read<std::uint8_t>();
  PINION_TRY(const std::uint64_t tile_rows, read_varint(in, "coded indices"));
  PINION_TRY(const std::uint64_t band_components, read_varint(in, "coded indices"));
  if (lanes_log2 > std::bit_width(unsigned{kMaxLanes}) - 1) return broken("too many lanes");
  if (tile_rows == 0 || tile_rows > kMaxChunkExtent || band_components == 0 ||
      band_components > kMaxChunkExtent) {
    return broken("impossible chunk size");
  }
  IndexChunks coded{{1 << lanes_log2, tile_rows, band_components}, {}};
  const ChunkCounts counts = count_chunks(coded.grid, active_components(params).size(), rows);
  if (counts.bands > in.remaining() || counts.tiles > in.remaining() / counts.bands) {
    return broken("the chunk sizes are cut short");
  }
  std::vector<std::uint64_t> sizes;
  for (std::size_t i = 0; i < counts.bands * counts.tiles; ++i) {
    PINION_TRY(const std::uint64_t size, read_varint(in, "coded indices"));
    if (size > kMaxChunkExtent) return broken("impossible size of a chunk");
    sizes.push_back(size);
  }
  for (const std::uint64_t size : sizes) coded.chunks.push_back(in.take(size));
  PINION_TRY_VOID(in.check("coded indices"));
  if (in.remaining() != 0) return broken("stray bytes after the last chunk");
  return coded;
}

Result<void> decode_index_chunks(const IndexChunks& coded, const IndexMatrix& matrix, IndexTables& tables) {
  const std::vector<std::size_t> active = active_components(matrix.params);
  const ChunkCounts counts = count_chunks(coded.grid, active.size(), matrix.rows);
  std::fill(matrix.values.begin(), matrix.values.end(), 0);
  std::fill(matrix.lead.begin(), matrix.lead.end(), 0);
  for (std::size_t i = 0; i < coded.chunks.size(); ++i) {
    PINION_TRY(ChunkDecoder chunk, ChunkDecoder::open(coded.chunks[i], coded.grid.lanes));
    if (i == 0 && matrix.lead_class.scale > 0) {
      PINION_TRY_VOID(decode_indices(chunk, coded.grid.lanes, tables, matrix.lead_class, matrix.lead));
    }
    Result<void> done;
    each_run(coded.grid, active, matrix.rows, i / counts.tiles, i % counts.tiles,
             [&](std::size_t k, std::size_t first, std::size_t count) {
               if (!done.ok()) return;
               done = decode_indices(chunk, coded.grid.lanes, tables, matrix.params.index_class(k),
                                     matrix.values.subspan(k * matrix.rows + first, count));
             });
    PINION_TRY_VOID(std::move(done));
    PINION_TRY_VOID(chunk.finish());
  }
  return {};
}

}  // namespace pinion::codec
