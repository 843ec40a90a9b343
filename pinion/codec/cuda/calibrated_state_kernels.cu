// The state of a calibrated stream after a frame (docs/format.md §12.4), and residuals transformed over tiles
// of tokens, both ways (§12.7, §12.8).

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kTileTokens = kTransformTile * kTransformTile, kTilesAtOnce = kThreads / kTileTokens;
constexpr float kLargestY = 0x1p60f;

__device__ float in_range(float y) { return y != y ? 0.0f : fminf(fmaxf(y, -kLargestY), kLargestY); }

__device__ std::uint32_t band_at(const IndexGrid& grid, std::uint32_t place) {
  std::uint32_t band = 0;
  while (band + 1 < grid.bands && place >= grid.band_ends[band]) ++band;
  return band;
}

// What is added to the prediction: the step times the index; nothing behind the last place.
__device__ float decoded_at(const AdvanceJob& job, std::uint32_t k, std::uint32_t place) {
  const IndexGrid& grid = *job.grid;
  if (place >= grid.band_ends[grid.bands - 1]) return 0;
  const std::uint32_t band = band_at(grid, place);
  if (job.classes[k * grid.bands + band] == kNoIndexClass) return 0;
  return job.steps[band] * static_cast<float>(job.indices[std::size_t{k} * job.pitch + place]);
}

// y = prediction + step * index. A block for a component and some of its places.
__global__ void __launch_bounds__(kThreads) advance_places(AdvanceJob job) {
  const std::uint32_t k = blockIdx.y, place = blockIdx.x * kThreads + threadIdx.x;
  if (place >= job.rows) return;
  const std::size_t at = std::size_t{k} * job.pitch + job.row_at[place];
  job.step->next_y[at] = in_range(job.prediction[at] + decoded_at(job, k, place));
}

// The same of rows in one band and in order, four at a time; a row of the matrix has room for all four.
__global__ void __launch_bounds__(kThreads) advance_rows(AdvanceJob job) {
  const std::uint32_t k = blockIdx.y, row = 4 * (blockIdx.x * kThreads + threadIdx.x);
  if (row >= job.rows) return;
  const std::size_t at = std::size_t{k} * job.pitch + row;
  float4 y = *reinterpret_cast<const float4*>(job.prediction + at);
  if (job.classes[k] != kNoIndexClass) {
    const int4 indices = *reinterpret_cast<const int4*>(job.indices + at);
    const float step = job.steps[0];
    y.x += step * static_cast<float>(indices.x), y.y += step * static_cast<float>(indices.y);
    y.z += step * static_cast<float>(indices.z), y.w += step * static_cast<float>(indices.w);
  }
  *reinterpret_cast<float4*>(job.step->next_y + at) =
      make_float4(in_range(y.x), in_range(y.y), in_range(y.z), in_range(y.w));
}

// A token of a tile: where it lies in the tile, how large that is, and its row. Four tiles in a block, a
// thread for each token that a whole tile would have.
struct Token {
  std::uint32_t line, column, lines, columns, row;
  bool is_there;

  __device__ Token(const TokenTiles& tiles, std::uint32_t rows) {
    const std::uint32_t across = (tiles.columns - 1) / kTransformTile + 1;
    const std::uint32_t down = (tiles.lines - 1) / kTransformTile + 1;
    const std::uint32_t tile = blockIdx.x * kTilesAtOnce + threadIdx.x / kTileTokens;
    const std::uint32_t picture = tile / (across * down), in_picture = tile % (across * down);
    const std::uint32_t top = in_picture / across * kTransformTile,
                        left = in_picture % across * kTransformTile;
    line = threadIdx.x % kTileTokens / kTransformTile;
    column = threadIdx.x % kTransformTile;
    lines = min(kTransformTile, tiles.lines - top);
    columns = min(kTransformTile, tiles.columns - left);
    is_there = picture < rows / (tiles.lines * tiles.columns) && line < lines && column < columns;
    row = is_there ? (picture * tiles.lines + top + line) * tiles.columns + left + column : 0;
  }
};

// left(i, a) value(a, b) right(j, b), summed over a and b, for the token in line i and column j; `cosine`
// says what a matrix of that size has there. By all threads of the block.
template <class Cosine>
__device__ float applied(const Token& token, float value, const Cosine& cosine) {
  __shared__ float tile[kTilesAtOnce][kTransformTile][kTransformTile + 1];
  auto& own = tile[threadIdx.x / kTileTokens];
  own[token.line][token.column] = token.is_there ? value : 0;
  __syncthreads();
  float sum = 0;
  if (token.is_there) {
    for (std::uint32_t a = 0; a < token.lines; ++a)
      sum += cosine(token.lines, token.line, a) * own[a][token.column];
  }
  __syncthreads();
  own[token.line][token.column] = sum;
  __syncthreads();
  sum = 0;
  if (token.is_there) {
    for (std::uint32_t b = 0; b < token.columns; ++b)
      sum += own[token.line][b] * cosine(token.columns, token.column, b);
  }
  return sum;
}

// The cosine of a frequency at a token, in a tile of that size.
__device__ float cosine_of(const TokenTiles& tiles, std::uint32_t size, std::uint32_t frequency,
                           std::uint32_t at) {
  return __ldg(tiles.cosines + ((size - 1) * kTransformTile + frequency) * kTransformTile + at);
}

// The same where rows are tokens of pictures.
__global__ void __launch_bounds__(kThreads) advance_tiles(AdvanceJob job) {
  const TokenTiles& tiles = job.tiles;
  const Token token(tiles, job.rows);
  const std::uint32_t k = blockIdx.y;
  const bool is_transformed = job.sum != nullptr || job.grid->bands > 1;
  float value = 0;
  if (token.is_there)
    value = decoded_at(job, k, is_transformed ? __ldg(tiles.place_of_row + token.row) : token.row);
  if (is_transformed)
    value = applied(token, value, [&](std::uint32_t size, std::uint32_t at, std::uint32_t frequency) {
      return cosine_of(tiles, size, frequency, at);
    });
  if (!token.is_there) return;
  const std::size_t at = std::size_t{k} * job.pitch + token.row;
  float* const y = job.sum != nullptr ? job.sum : job.step->next_y;
  y[at] = in_range(job.prediction[at] + value);
}

// The residual's coefficients, in coded order.
__global__ void __launch_bounds__(kThreads) transform(CalibratedEncodeJob job) {
  wait_for_earlier_work();
  const TokenTiles& tiles = job.tiles;
  const Token token(tiles, job.predict.rows);
  const std::size_t first = std::size_t{blockIdx.y} * job.predict.pitch;
  const float value = applied(token, token.is_there ? job.residual[first + token.row] : 0,
                              [&](std::uint32_t size, std::uint32_t frequency, std::uint32_t at) {
                                return cosine_of(tiles, size, frequency, at);
                              });
  if (token.is_there) job.coefficients[first + __ldg(tiles.place_of_row + token.row)] = value;
}

dim3 blocks_of(const TokenTiles& tiles, std::uint32_t rows, std::uint32_t components) {
  const std::uint32_t across = (tiles.columns - 1) / kTransformTile + 1;
  const std::uint32_t down = (tiles.lines - 1) / kTransformTile + 1;
  const std::uint32_t all = rows / (tiles.lines * tiles.columns) * across * down;
  return dim3((all - 1) / kTilesAtOnce + 1, components);
}

}  // namespace

void launch_advance(const AdvanceJob& job, cudaStream_t stream) {
  if (job.tiles.is_there()) {
    advance_tiles<<<blocks_of(job.tiles, job.rows, job.components), kThreads, 0, stream>>>(job);
  } else if (job.row_at != nullptr) {
    advance_places<<<dim3((job.rows - 1) / kThreads + 1, job.components), kThreads, 0, stream>>>(job);
  } else {
    advance_rows<<<dim3((job.rows - 1) / (4 * kThreads) + 1, job.components), kThreads, 0, stream>>>(job);
  }
}

void launch_transform(const CalibratedEncodeJob& job, cudaStream_t stream) {
  start_behind(transform, blocks_of(job.tiles, job.predict.rows, job.predict.calibration.components),
               kThreads, 0, stream, job);
}

}  // namespace pinion::codec::cuda
