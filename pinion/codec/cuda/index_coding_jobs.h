#pragma once
// Matrices of indices in chunks (docs/format.md §6.3) as the kernels take them. Plain data; all pointers are
// to device memory. Index values are [components, pitch], the rows of a component in coded order.

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kIndexTables = 87;    // of docs/format.md §6.2
inline constexpr std::uint32_t kIndexSymbols = 256;  // room for a table's symbols
inline constexpr std::uint32_t kIndexSlots = 4096;
inline constexpr std::uint32_t kIndexBands = 8;          // at most
inline constexpr std::uint32_t kMostIndexChunks = 1024;  // that an encoder makes
inline constexpr std::uint32_t kClassShapes = 4;
inline constexpr std::uint32_t kClassScales = 91;  // 0 to the largest of any shape

// The tables, the same for every frame: see IndexTablesOnDevice.
struct IndexCodingTables {
  const uint2* entries = nullptr;  // [kIndexTables, kIndexSymbols]: reciprocal and range, as rans_lanes.h
  const std::uint32_t* slots =
      nullptr;  // [kIndexTables, kIndexSlots]: symbol | frequency << 8 | offset << 20
  const std::uint8_t* halves =
      nullptr;  // [kIndexTables]: symbols 0 .. 2 half are numbers, the next the escape
};

// A class (docs/format.md §6.2) as one number: the table, and the plain bits above it. Components without
// indices in a band have none.
inline constexpr std::uint16_t kNoIndexClass = 0xffff;
constexpr std::uint16_t index_class_code(std::uint32_t table, std::uint32_t shift) {
  return static_cast<std::uint16_t>(table | shift << 8);
}
constexpr std::uint32_t table_of_class(std::uint32_t code) { return code & 0xff; }
constexpr std::uint32_t shift_of_class(std::uint32_t code) { return code >> 8; }

// How a matrix is cut. In device memory: an encoder's kernels decide it.
struct IndexGrid {
  std::uint32_t bands = 1;
  std::uint32_t band_ends[kIndexBands] = {};  // in coded order; the last is the number of rows
  std::uint32_t active = 0;                   // components that have indices
  std::uint32_t lanes = 1;
  std::uint32_t tile_rows = 1, group_components = 1;
  std::uint32_t groups = 1, tiles = 1;

  __host__ __device__ std::uint32_t chunks() const { return groups * tiles; }
};

// What an encoder's chunk may take: every index 61 bits at most, the states, and what copies read beside it.
inline constexpr std::size_t kIndexSlotBytes = 8, kChunkSlotBytes = 256;

// Where chunk `chunk` of a grid has its room, from an even place on. Chunk 0 has `front` values more.
struct ChunkRoom {
  std::size_t begin, bytes;
};
constexpr std::uint32_t least(std::uint32_t a, std::uint32_t b) { return a < b ? a : b; }
constexpr ChunkRoom room_of_chunk(const IndexGrid& grid, std::uint32_t rows, std::uint32_t chunk,
                                  std::uint32_t front = 0) {
  const std::uint32_t group = chunk / grid.tiles, tile = chunk % grid.tiles;
  const std::uint32_t first = group * grid.group_components, row = tile * grid.tile_rows;
  const std::size_t components = least(grid.group_components, grid.active - least(grid.active, first));
  const std::size_t own_rows = least(grid.tile_rows, rows - least(rows, row));
  const std::size_t before = std::size_t{first} * rows + components * row + (chunk > 0 ? front : 0);
  return {before * kIndexSlotBytes + chunk * kChunkSlotBytes,
          (components * own_rows + (chunk == 0 ? front : 0)) * kIndexSlotBytes + kChunkSlotBytes};
}

struct IndexMatrixOnDevice {
  const IndexGrid* grid = nullptr;
  const std::uint16_t* classes = nullptr;  // [components, bands]
  const std::uint32_t* active = nullptr;   // components that have indices, ascending
  std::uint32_t rows = 0, pitch = 0;
};

struct IndexEncodeJob {
  IndexCodingTables tables;
  IndexMatrixOnDevice matrix;
  const std::int32_t* values = nullptr;
  std::byte* slots = nullptr;      // room_of_chunk() of each
  std::uint32_t* sizes = nullptr;  // bytes of each chunk, which ends 16 bytes before its room does
  // One run more, which becomes a chunk of one lane behind kMostIndexChunks in `sizes`; no class: there is
  // none.
  const std::int32_t* lead = nullptr;
  const std::uint16_t* lead_class = nullptr;
  std::byte* lead_slot = nullptr;  // room for rows * kIndexSlotBytes + kChunkSlotBytes
  // A run in front of chunk 0 (the means of mode 2); null or no class: there is none.
  const std::int32_t* front = nullptr;
  std::uint32_t front_count = 0;
  const std::uint16_t* front_class = nullptr;
};

struct IndexDecodeJob {
  IndexCodingTables tables;
  IndexMatrixOnDevice matrix;
  std::uint32_t chunks = 0;  // known to the host too
  const std::byte* frame = nullptr;
  const std::uint64_t* places = nullptr;  // of each chunk in the frame, and its bytes
  const std::uint32_t* sizes = nullptr;
  std::int32_t* values = nullptr;  // what has no class stays as it is
  // A run in front of chunk 0 (the means of mode 2); no class: there is none.
  std::int32_t* front = nullptr;
  std::uint32_t front_count = 0;
  std::uint16_t front_class = kNoIndexClass;
  std::uint32_t* broken = nullptr;  // set if a chunk does not hold what it should
};

// `rows` of a component fit in a grid's rooms of that many bytes.
constexpr std::size_t index_slot_bytes(std::size_t components, std::size_t rows) {
  return components * rows * kIndexSlotBytes + kMostIndexChunks * kChunkSlotBytes;
}

void launch_index_encoding(const IndexEncodeJob& job, cudaStream_t stream);
void launch_index_decoding(const IndexDecodeJob& job, cudaStream_t stream);

}  // namespace pinion::codec::cuda
