#pragma once
// What the kernels of mode 6 (docs/format.md §12) work on. Plain data; all pointers are to device memory.
// d channels, K components, L latents, F features of the prediction: y', u, w or what there is of them.
// Matrices of components are [K, pitch], a column for each row of the tensor.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "pinion/codec/cuda/index_coding_jobs.h"
#include "pinion/codec/cuda/lossless_jobs.h"
#include "pinion/codec/cuda/magnitude_bins.h"

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kMostComponents = 16384;  // of a calibration: what grids of blocks allow
inline constexpr int kLeastStep = -2048;                 // in 64ths of an octave
inline constexpr int kMostStep = 2047;
inline constexpr int kStepEntries = kMostStep - kLeastStep + 1 + 7 * 255;  // with those of the bands
inline constexpr int kLeastLaplace = -384, kMostLaplace = 320;  // log2 of a deviation in steps, in 64ths
inline constexpr int kNoDeviation = -(1 << 20);                 // a level: all values are 0
// Scales around the expected one for which a class is priced, either way.
inline constexpr int kScaleReach = 24, kPricedScales = 2 * kScaleReach + 1;

inline constexpr std::uint32_t kTransformTile = 8;  // tokens either way that are transformed together

// The same for every frame: see CalibrationOnDevice.
struct CalibratedTables {
  const float* class_costs = nullptr;          // [shapes, scales, kMagnitudeBins]: bits of an index
  const std::uint16_t* class_codes = nullptr;  // [shapes, scales]
  const float* steps = nullptr;                // [kStepEntries], from kLeastStep on
  const float* laplace = nullptr;              // squared error in steps², from kLeastLaplace on
  const float* laplace_bits = nullptr;         // of an index, likewise
  const float* cosines =
      nullptr;  // [kTransformTile, kTransformTile, kTransformTile]: t(n + 1, k, i) of docs/format.md §12.7
  std::uint8_t max_scales[kClassShapes] = {};
};

// A calibration. Records lie one behind the other.
struct CalibrationArrays {
  std::uint32_t channels = 0, components = 0, latents = 0;
  bool has_history = false, has_loudness = false;
  std::uint32_t padded_channels = 0;        // pitch of the projection
  const __nv_bfloat16* projection[2] = {};  // [K, padded_channels], its parts
  std::uint32_t padded_known = 0;           // pitch of the reconstruction
  const __half* reconstruction[2] = {};     // [d, padded_known], its parts, scaled
  const float* known_scales = nullptr;      // [K + L]: what y and u are multiplied by for that
  const float* means = nullptr;             // [records, d]
  const float* projected_means = nullptr;   // [records, K]: means times the projection
  const float* latent_means = nullptr;      // [records, L]
  const float* change_means = nullptr;      // [records, L]
  const float* alone = nullptr;             // [records, K, L]
  const float* history = nullptr;           // [records, K, F]
  const float *alone_sizes = nullptr, *history_sizes = nullptr;  // [records, features]: the largest of each
  const std::uint8_t *alone_levels = nullptr, *history_levels = nullptr;  // [records, K]
  const float* gains = nullptr;                                           // [records, K]
  const float* loudness = nullptr;                                        // [records, d]
};

// A position: the way from one record to another is `part` of 256.
struct RecordPair {
  std::uint32_t first = 0, second = 0;
  std::int32_t part = 0;
};

// What changes from call to call. In device memory, so that a graph need not be changed.
struct CalibratedStep {
  alignas(64) std::uint8_t tensor_map[128];                     // encoding, see wide_products.h
  const std::byte* tensor = nullptr;                            // encoding
  std::byte* out = nullptr;                                     // decoding
  const float *latents = nullptr, *previous_latents = nullptr;  // [rows, L]
  const float* last_y = nullptr;
  float* next_y = nullptr;
  const std::uint8_t* last_bands = nullptr;  // of each row; null: all in the first
  std::uint8_t* next_bands = nullptr;
  RecordPair records;
  float per_sigma = 0;  // 1 / delta_sigma

  // Encoding.
  double allowed_error = 0, floor = 0, signal = 0;
  float loudness_bias = 0;
  std::uint32_t previous = 0;  // checksum of the frame before
  bool has_previous = false;
  std::uint8_t head[96];  // the frame before body_bytes
  std::uint32_t head_bytes = 0;
  std::uint8_t calibration[16];
  std::uint8_t params[16];  // the body's first fields; those that are decided on the device are 0
  std::uint32_t params_bytes = 0;
};

// Rows of features as one side of a product: parts [rows, pitch], each row divided by row_scales.
struct FeatureRows {
  __half* parts[2] = {};
  std::uint32_t features = 0, pitch = 0, part_count = 2;
  float* row_scales = nullptr;
};

// Where features come from: y first if it is one of them, then latents, then their change.
struct FeatureSources {
  std::uint32_t components = 0;  // K if y is one of them, else 0
  bool of_next_y = false;        // y is that of this step
  // What they are multiplied by: `scales`, or the powers of two of `sizes` at the records of the step.
  const float *scales = nullptr, *sizes = nullptr;
};

struct PredictJob {
  CalibrationArrays calibration;
  const CalibratedStep* step = nullptr;
  std::uint32_t rows = 0, pitch = 0;
  bool with_history = false;
  FeatureSources sources;
  FeatureRows rows_side;
  __half* matrix[2] = {};  // [K, rows_side.pitch], the blended predictor
  float* prediction = nullptr;
  std::uint32_t* not_finite = nullptr;  // set if latents are not
};

struct RebuildJob {
  CalibrationArrays calibration;
  const CalibratedStep* step = nullptr;
  std::uint32_t rows = 0, pitch = 0;
  std::uint8_t dtype = 0;
  FeatureRows rows_side;
};

// Rows as tokens of pictures (docs/format.md §12.7); none: rows are coded as they are.
struct TokenTiles {
  std::uint32_t lines = 0, columns = 0;         // of a picture
  const std::uint32_t* place_of_row = nullptr;  // of the coefficients in coded order
  const float* cosines = nullptr;               // CalibratedTables::cosines

  __host__ __device__ bool is_there() const { return lines > 0; }
};

// y of this step, for both sides.
struct AdvanceJob {
  const CalibratedStep* step = nullptr;
  const float* prediction = nullptr;
  const std::int32_t* indices = nullptr;
  const std::uint16_t* classes = nullptr;
  const IndexGrid* grid = nullptr;
  const std::uint32_t* row_at = nullptr;  // null: rows are in coded order
  const float* steps = nullptr;           // of each band
  std::uint32_t rows = 0, pitch = 0, components = 0;
  // Indices are of coefficients if the grid has bands or `sum` is there, of tokens if it has one band.
  TokenTiles tiles = {};
  float* sum = nullptr;  // of low frequencies: where the prediction goes with them, [K, pitch]
};

}  // namespace pinion::codec::cuda
