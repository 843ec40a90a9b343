#pragma once
// What the kernels that encode mode 2 (docs/format.md §6) work on. Plain data; all pointers are to device
// memory. Components of the rows before they are quantised are [components, pitch], in units of the tensor;
// residuals and states are [components, rows].

#include <cuda_bf16.h>

#include "pinion/codec/cuda/fidelity_jobs.h"
#include "pinion/codec/cuda/lossless_jobs.h"
#include "pinion/codec/cuda/magnitude_bins.h"

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kTrials = 4;          // steps whose error is looked at before one is taken
inline constexpr std::uint32_t kPredictorSets = 16;  // at most
inline constexpr std::uint32_t kRowParts = 64;       // in which channels are summed
inline constexpr std::uint32_t kInsideParts = 4;     // of the rows, likewise
inline constexpr std::uint32_t kChannelBlock = 256;  // channels that a block finishes
inline constexpr std::uint32_t kSizedRows = 32;      // rows whose sizes a block looks at
inline constexpr std::uint32_t kOffsetScaleCount = 16;

// The same for every frame.
struct ClassTables {
  const float* costs = nullptr;          // [shapes, scales, kMagnitudeBins]: bits of an index
  const std::uint16_t* codes = nullptr;  // [shapes, scales]
  std::uint8_t max_scales[kClassShapes] = {};
};

// How rows become components: by least squares, since the directions of a basis are not quite orthogonal.
// Without a basis components are channels, and there is nothing here.
struct AnalysisOnDevice {
  const __nv_bfloat16* parts[2] = {};  // [components, pitch]
  const float* weights = nullptr;      // squared lengths of the directions
  // [components, components]: what products of components add to the energy inside of the basis; those of a
  // component with itself stand apart.
  const float* shared = nullptr;
  const float* own = nullptr;
  std::uint32_t pitch = 0;  // channels, padded
};

// What changes from call to call.
struct FidelityStep {
  const std::byte* tensor = nullptr;
  double error_ratio = 0;       // that is allowed: of the error to the tensor's energy
  double steps_before[2] = {};  // of the references
  float mean_unit_before = 0;   // of the means of the first
  std::int32_t mean_shift_before = 0;
  float first_step = 0;        // steps to look at lie about this one; 0: about the planned one,
  float planned_factor = 1;    // times this
  float goal_factor = 1;       // from the error that is aimed at to that which the frame will have
  bool is_forced = false;      // take the first step itself
  std::uint32_t previous = 0;  // checksum of the frame before
  std::uint32_t head_bytes = 0;
  std::uint8_t head[96];  // the frame before body_bytes
  std::uint8_t basis[16];
};

struct ChannelTotals {
  double energy, cross, square;  // about the means; of means and the means before, and of these
};

// Mean products over the rows of a component about its mean and of what it is predicted from.
struct alignas(16) ComponentSpread {
  float own, cross[2], square[2], between;
  float left;  // by the predictor of its own
  float mean;
};

struct FidelityPlan {
  double energy, outside, goal;  // mean squares of a row; the goal is that of the components
  double fixed;                  // error beside that of components and means
  double aim;                    // the goal over goal_factor
  double mean_allowed;
  float planned, trials[kTrials], step;
  std::uint32_t ratios[kReferences];
  std::uint32_t mean_shift, mean_coefficient;
  std::uint32_t coded_trial;  // components are coded that are worth it at this one
  std::uint32_t sets;
  std::uint8_t written[kPredictorSets][kReferences];
  float coefficients[kPredictorSets][kReferences];
};

// Residuals of a component at the step, as they fall into the bins of a quantiser.
struct BinTotals {
  float ones, more, ones_excess, more_excess, square, error;
};

// The cheapest scale of each shape: rare ones, wide ones.
struct ClassBests {
  float bits[2][kClassShapes];
  std::uint8_t scales[2][kClassShapes];
  std::uint8_t coded;
};

// Classes of a frame and the offsets of their scales.
struct ClassChoice {
  std::uint32_t rare, wide;  // shapes
  std::uint32_t present;     // a bit for each scale that has offsets
  std::uint32_t one[kOffsetScaleCount + 1], more[kOffsetScaleCount + 1];
};

struct MeanCoding {
  std::uint32_t shape, scale;
  double error;  // squared, over all channels
};

// Why no frame of mode 2 can be.
enum FidelityRefusal : std::uint32_t {
  kNothingToCode = 1,  // all rows are alike
  kOutOfReach = 2,     // what the basis leaves, or rounding, is above the target
  kOutOfRange = 4,     // a number leaves its range
  kFrameTooLarge = 8,
};

struct FidelityOutcome {
  EncodeOutcome frame;
  DecodeOutcome advanced;  // what the state's kernel tells
  double error_ratio;      // reached over allowed
  double goal_ratio;       // of the components' error to the goal
  double snr_db;
  float step, planned;
  float row_bits, row_bits_in_bands;  // of an index, about, as the rows are and were they in bands
  std::uint32_t mean_shift, active, not_finite, refusal, largest;
};

struct FidelityFields {
  std::byte first[32];  // the body up to the parameters
  std::uint32_t first_bytes, param_bytes;
};

struct FidelityEncodeJob {
  ClassTables tables;
  AnalysisOnDevice analysis;
  bool has_basis = false, is_direct = false;
  bool is_aligned = false;  // four elements of a row may be loaded at once
  std::uint8_t dtype = 0, analysis_parts = 1;
  std::uint32_t rows = 0, channels = 0, components = 0, pitch = 0, references = 0;
  FidelityStep* step = nullptr;

  double *channel_sums = nullptr, *channel_squares = nullptr;  // [kRowParts, channels]
  double* rounding = nullptr;                                  // [rounding_blocks]
  std::uint32_t rounding_blocks = 0;
  double* means = nullptr;           // [channels]
  ChannelTotals* totals = nullptr;   // [blocks of kChannelBlock]
  float* projected_means = nullptr;  // [components]; 0 unless is_direct
  __nv_bfloat16* centred[2] = {};    // [rows, analysis.pitch]
  float* values = nullptr;           // the components
  __nv_bfloat16* coarse = nullptr;   // the same, [components, pitch], 0 past the end
  double* inside = nullptr;          // what they share: [inside_blocks]
  std::uint32_t inside_blocks = 0;
  ComponentSpread* spreads = nullptr;
  std::uint8_t* predictor_of = nullptr;
  float* trial_errors = nullptr;  // [kTrials + 1, components]: coded at each of the steps, and not coded
  std::uint8_t* trial_coded = nullptr;  // [components]: a bit for each step at which that is worth it
  float* row_bits = nullptr;            // [blocks of kSizedRows]
  FidelityPlan* plan = nullptr;
  std::int32_t* factors = nullptr;    // [components, kReferences]: coefficient times ratio
  std::int32_t* residuals = nullptr;  // [components, rows]
  BinTotals* bins = nullptr;
  ClassBests* bests = nullptr;
  std::int32_t* mean_residuals = nullptr;  // [channels]
  MeanCoding* mean_coding = nullptr;
  std::uint16_t* mean_class = nullptr;
  ReferenceOnDevice before[kReferences];
  const std::int32_t* means_before = nullptr;
  const std::uint8_t* scales_before = nullptr;
  std::int32_t* next_state = nullptr;
  std::int32_t* next_means = nullptr;
  std::uint8_t* next_scales = nullptr;
  ClassChoice* choice = nullptr;
  IndexGrid* grid = nullptr;
  std::uint16_t* classes = nullptr;
  std::uint8_t* offsets = nullptr;  // one | more << 4
  std::uint32_t* active = nullptr;
  std::uint32_t* param_words = nullptr;  // 0 at first
  FidelityFields* fields = nullptr;
  std::uint64_t* places = nullptr;     // of chunks in the frame
  FidelityOutcome* outcome = nullptr;  // 0 at first
  IndexEncodeJob coding;
  std::byte* frame = nullptr;
  std::uint64_t frame_room = 0;
};

}  // namespace pinion::codec::cuda
