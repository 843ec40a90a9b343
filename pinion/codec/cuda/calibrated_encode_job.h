#pragma once
// What an encoder of mode 6 (docs/format.md §12) works on, as calibrated_jobs.h has it for both sides.

#include "pinion/codec/cuda/calibrated_jobs.h"

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kScaleOffsets = 25;        // of all scales that are tried
inline constexpr std::uint32_t kOwnScaleComponents = 64;  // whose own scales a block chooses

// Rows in coded order; encoding with loudness or tiles only, else all are in one band.
struct RowOrder {
  std::uint32_t bands = 1;
  std::uint32_t ends[kIndexBands] = {};
  double weights[kIndexBands] = {};  // sums over their rows
  std::uint32_t first_band = 0, map_shape = 0, map_scale = 0;
};

struct StepPlan {
  double goal = 0;            // of the error energy
  float expected = 0;         // at the planned step
  int planned = 0, step = 0;  // log2 in 64ths
};

struct CalibratedOutcome {
  EncodeOutcome frame;
  double coded_bits, output_snr_db;
  float step;
  std::uint32_t not_finite, bad_latents;
};

// The body's parts that are decided before indices are coded.
struct BodyParts {
  std::uint8_t first[64];  // to the class of the map
  std::uint32_t first_bytes;
  std::uint32_t scale_bytes;  // 0: none are written
};

// Of kernels whose last block goes on: blocks that are done, 0 at first.
struct BlocksDone {
  std::uint32_t measured = 0, tried = 0, chosen = 0;
};

struct CalibratedEncodeJob {
  CalibratedTables tables;
  PredictJob predict;      // with the calibration, the step and the shape
  bool is_direct = false;  // the tensor itself is a side of the projection
  std::uint8_t dtype = 0;
  __nv_bfloat16* centred[2] = {};  // [rows, padded channels], if it is not
  float* residual = nullptr;       // before it is quantised
  int band_growth = 0;             // LoudnessBands::step_growth
  double band_octaves = 0;         // LoudnessBands::octaves()
  RowOrder* order = nullptr;       // null: all rows are in one band
  BlocksDone* done = nullptr;
  // Where rows are tokens of pictures: the residual's coefficients [K, pitch] and their order, both coded;
  // `order` says which of the two is coded: that of all coefficients, or one band of tokens.
  TokenTiles tiles;
  float* coefficients = nullptr;
  const RowOrder* coefficient_order = nullptr;
  // [rows], with loudness only.
  float* row_loudness = nullptr;
  std::uint32_t* row_at = nullptr;  // in coded order
  double* row_weights = nullptr;    // likewise
  std::int32_t* map_values = nullptr;
  std::uint16_t* map_class = nullptr;
  // [bands, K]; with tiles, behind the bands of coefficients, those of tokens
  int* deviations = nullptr;                      // log2 in 64ths
  float* costs = nullptr;                         // error energy per mean squared error
  double* trial_errors = nullptr;                 // [K]
  double *errors = nullptr, *silences = nullptr;  // error energy, and what silence adds
  float* silent_squares = nullptr;                // what silence adds in squared steps
  int* expected_scales = nullptr;                 // [K]: calibrated, at the step, before they are bounded
  float* prices = nullptr;                        // [bands, shapes, kPricedScales, K]: bits
  std::uint8_t* own_scales = nullptr;             // [shapes, K]
  std::uint32_t* scale_words = nullptr;           // packed scales; 0 at first
  int* band_scales = nullptr;                     // [kIndexBands]
  float* offset_costs = nullptr;                  // [kScaleOffsets, 2 shapes]
  double* own_costs = nullptr;                    // [components / kOwnScaleComponents, shapes]
  StepPlan* plan = nullptr;
  BodyParts* body = nullptr;
  IndexGrid* grid = nullptr;
  std::uint16_t* classes = nullptr;
  std::uint32_t* active = nullptr;
  float* band_steps = nullptr;  // [kIndexBands]
  std::int32_t* indices = nullptr;
  std::uint64_t* places = nullptr;  // of chunks in the frame, the map's behind them
  CalibratedOutcome* outcome = nullptr;
  IndexEncodeJob coding;
  std::byte* frame = nullptr;
};

}  // namespace pinion::codec::cuda
