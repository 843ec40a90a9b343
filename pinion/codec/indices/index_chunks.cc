#include "pinion/codec/indices/index_chunks.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pinion::codec {
namespace {

constexpr double kBytesPerLane = 512;     // a lane costs two bytes
constexpr double kBytesPerChunk = 16384;  // small enough for a GPU to find many of them in a large frame

std::size_t divide_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

struct ChunkCounts {
  std::size_t groups;
  std::size_t tiles;
};

ChunkCounts count_chunks(const ChunkGrid& grid, std::size_t active, std::size_t rows) {
  return {std::max<std::size_t>(1, divide_up(active, grid.group_components)),
          std::max<std::size_t>(1, divide_up(rows, grid.tile_rows))};
}

// What one class codes in one go.
struct Run {
  IndexClass index_class;
  std::size_t begin, count;  // in the matrix
};

// The runs of chunk (group, tile) in coding order: component after component,
// band after band.
std::vector<Run> runs_of(const IndexMatrix& matrix, const ChunkGrid& grid,
                         std::span<const std::size_t> active, std::size_t group, std::size_t tile) {
  const std::size_t first_row = tile * grid.tile_rows;
  const std::size_t end_row = std::min(first_row + grid.tile_rows, matrix.rows());
  const std::size_t end = std::min(active.size(), (group + 1) * grid.group_components);
  std::vector<Run> runs;
  for (std::size_t i = group * grid.group_components; i < end; ++i) {
    std::size_t begin = 0;
    for (std::size_t band = 0; band < matrix.band_ends.size(); ++band) {
      const std::size_t from = std::max(begin, first_row);
      const std::size_t to = std::min(matrix.band_ends[band], end_row);
      begin = matrix.band_ends[band];
      const IndexClass index_class = matrix.params.index_class(active[i], band);
      if (from < to && index_class.scale > 0)
        runs.push_back({index_class, active[i] * matrix.rows() + from, to - from});
    }
  }
  return runs;
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
  const std::size_t groups = std::min(chunks, active);
  const std::size_t tiles = std::min(divide_up(chunks, groups), std::max<std::size_t>(1, rows));
  const auto lanes = static_cast<unsigned>(
      std::clamp(bytes / static_cast<double>(groups * tiles) / kBytesPerLane, 1.0, double{kMaxLanes}));
  return {1 << (std::bit_width(lanes) - 1), std::max<std::size_t>(1, divide_up(rows, tiles)),
          divide_up(active, groups)};
}

void write_index_chunks(ByteWriter& out, const ChunkGrid& grid, const IndexMatrix& matrix,
                        IndexTables& tables, ChunkPool& pool) {
  const std::vector<std::size_t> active = active_components(matrix.params);
  const ChunkCounts counts = count_chunks(grid, active.size(), matrix.rows());
  out.write(static_cast<std::uint8_t>(std::bit_width(static_cast<unsigned>(grid.lanes)) - 1));
  write_varint(out, grid.tile_rows);
  write_varint(out, grid.group_components);

  std::vector<ByteWriter> chunks(counts.groups * counts.tiles);
  pool.run(chunks.size(), [&](std::size_t i, std::size_t) {
    const std::vector<Run> runs = runs_of(matrix, grid, active, i / counts.tiles, i % counts.tiles);
    ChunkEncoder chunk(grid.lanes);
    for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
      encode_indices(chunk, grid.lanes, tables.get(run->index_class),
                     matrix.values.subspan(run->begin, run->count));
    }
    if (i == 0 && matrix.lead_class.scale > 0) {
      encode_indices(chunk, grid.lanes, tables.get(matrix.lead_class), matrix.lead);
    }
    chunk.finish(chunks[i]);
  });
  for (const ByteWriter& chunk : chunks) write_varint(out, chunk.view().size());
  for (const ByteWriter& chunk : chunks) out.write_bytes(chunk.view());
}

Result<IndexChunks> parse_index_chunks(ByteReader& in, const ComponentParams& params, std::size_t rows) {
  const auto broken = [](std::string_view what) {
    return Error{Errc::kBadFormat, "coded indices: " + std::string(what), ""};
  };
  const auto lanes_log2 = in.read<std::uint8_t>();
  PINION_TRY(const std::uint64_t tile_rows, read_varint(in, "coded indices"));
  PINION_TRY(const std::uint64_t group_components, read_varint(in, "coded indices"));
  if (lanes_log2 > std::bit_width(unsigned{kMaxLanes}) - 1) return broken("too many lanes");
  if (tile_rows == 0 || tile_rows > kMaxChunkExtent || group_components == 0 ||
      group_components > kMaxChunkExtent) {
    return broken("impossible chunk size");
  }
  IndexChunks coded{{1 << lanes_log2, tile_rows, group_components}, {}};
  const ChunkCounts counts = count_chunks(coded.grid, active_components(params).size(), rows);
  if (counts.groups > in.remaining() || counts.tiles > in.remaining() / counts.groups) {
    return broken("the chunk sizes are cut short");
  }
  std::vector<std::uint64_t> sizes;
  for (std::size_t i = 0; i < counts.groups * counts.tiles; ++i) {
    PINION_TRY(const std::uint64_t size, read_varint(in, "coded indices"));
    if (size > kMaxChunkExtent) return broken("impossible size of a chunk");
    sizes.push_back(size);
  }
  for (const std::uint64_t size : sizes) coded.chunks.push_back(in.take(size));
  PINION_TRY_VOID(in.check("coded indices"));
  if (in.remaining() != 0) return broken("stray bytes after the last chunk");
  return coded;
}

Result<void> decode_index_chunks(const IndexChunks& coded, const IndexMatrix& matrix, IndexTables& tables,
                                 ChunkPool& pool) {
  const std::vector<std::size_t> active = active_components(matrix.params);
  const ChunkCounts counts = count_chunks(coded.grid, active.size(), matrix.rows());
  std::fill(matrix.values.begin(), matrix.values.end(), 0);
  std::fill(matrix.lead.begin(), matrix.lead.end(), 0);
  const auto decode_chunk = [&](std::size_t i) -> Result<void> {
    PINION_TRY(ChunkDecoder chunk, ChunkDecoder::open(coded.chunks[i], coded.grid.lanes));
    if (i == 0 && matrix.lead_class.scale > 0) {
      PINION_TRY_VOID(decode_indices(chunk, coded.grid.lanes, tables.get(matrix.lead_class), matrix.lead));
    }
    for (const Run& run : runs_of(matrix, coded.grid, active, i / counts.tiles, i % counts.tiles)) {
      PINION_TRY_VOID(decode_indices(chunk, coded.grid.lanes, tables.get(run.index_class),
                                     matrix.values.subspan(run.begin, run.count)));
    }
    return chunk.finish();
  };
  std::vector<Result<void>> results(coded.chunks.size(), Result<void>{});
  pool.run(results.size(), [&](std::size_t i, std::size_t) { results[i] = decode_chunk(i); });
  for (Result<void>& result : results) PINION_TRY_VOID(std::move(result));
  return {};
}

Bytes encode_run(std::span<const std::int32_t> values, IndexClass index_class, IndexTables& tables) {
  if (index_class.scale == 0) return {};
  ChunkEncoder chunk(1);
  encode_indices(chunk, 1, tables.get(index_class), values);
  ByteWriter out;
  chunk.finish(out);
  return std::move(out).take();
}

Result<void> decode_run(ByteSpan bytes, IndexClass index_class, IndexTables& tables,
                        std::span<std::int32_t> values) {
  std::fill(values.begin(), values.end(), 0);
  if (index_class.scale == 0) {
    if (bytes.empty()) return {};
    return Error{Errc::kBadFormat, "coded indices: a run without a class has bytes", ""};
  }
  PINION_TRY(ChunkDecoder chunk, ChunkDecoder::open(bytes, 1));
  PINION_TRY_VOID(decode_indices(chunk, 1, tables.get(index_class), values));
  return chunk.finish();
}

}  // namespace pinion::codec
