#pragma once
// The body of a frame of mode 6 and the arithmetic that encoder and decoder share (docs/format.md §12).
// Matrices are transposed, [components or features, rows]. Pure functions.

#include "pinion/codec/calibrated/calibrated_bands.h"
#include "pinion/codec/calibrated/calibrated_codec.h"
#include "pinion/codec/indices/index_chunks.h"
#include "pinion/codec/math/grid_transform.h"

namespace pinion::codec {

inline constexpr int kStepsPerOctave = 64;
inline constexpr int kMaxStepLog2 = 2047;
inline constexpr int kMinStepLog2 = -2048;
inline constexpr int kBlendOne = 256;
inline constexpr float kMinDeltaSigma = 0x1p-20f;
inline constexpr std::size_t kComponentsTogether = 16;  // that are one piece of work for a thread

enum class CalibratedPredictor : std::uint8_t { kLatentsAlone = 0, kHistory = 1 };

// What the rows of the indices are: tokens, all alike or in bands, or coefficients of a grid of tokens.
enum class RowLayout : std::uint8_t { kTokens, kBands, kCoefficients };

struct CalibratedParams {
  CalibratedPredictor predictor = CalibratedPredictor::kLatentsAlone;
  std::uint16_t position = 0;   // kBlendOne * record + blend
  std::int16_t step_log2 = 0;   // in 1 / kStepsPerOctave octaves
  std::int16_t output_snr = 0;  // hundredths of a dB
  float delta_sigma = 0;        // if the predictor uses the latents' change
  Shapes shapes;
  std::int8_t scale_offset = 0;
  bool has_scales = false;  // the frame writes the components' scales
  bool has_low = false;     // low frequencies are coded in front of the rows
  RowLayout layout = RowLayout::kTokens;
  CalibratedBands bands;  // of coefficients, those of their frequencies
  TokenGrid grid;         // of coefficients

  bool uses_history() const { return predictor == CalibratedPredictor::kHistory; }
  float step(std::size_t band) const;
};

// What varies slowly over pictures, coded in front of the rows: coefficients in the first params.bands.count
// classes of frequencies, in low_frequencies.h.
struct LowFrequencies {
  CalibratedParams params;  // of kCoefficients
  ComponentParams components;
  IndexChunks chunks;
};

struct CalibratedBody {
  CalibratedParams params;
  std::optional<LowFrequencies> low;  // if params.has_low
  ComponentParams components;         // the table class of each
  CalibratedBandMap band_map;         // if there are bands
  IndexChunks chunks;
};

// The place of a sigma in the schedule; beyond its ends, the end.
std::uint16_t schedule_position(const Calibration& calibration, float sigma);

// What a position's record says besides its arrays.
struct RecordScalars {
  double floor = 0;
  double output_energy = 0;
  float loudness_bias = 0;
};
RecordScalars scalars_at(const Calibration& calibration, std::uint16_t position);

// The record of a position, with the parts of one predictor only.
struct RecordAt : RecordScalars {
  std::vector<float> mean;
  std::vector<float> latent_mean;
  std::vector<float> change_mean;
  Matrix prediction;  // [features, K]
  std::vector<std::uint8_t> levels;
  std::vector<float> gain;
  std::vector<float> loudness;  // empty: rows are all alike
};
// Memory of `record` is used again.
void record_at(const Calibration& calibration, std::uint16_t position, CalibratedPredictor predictor,
               RecordAt& record);
std::vector<std::uint8_t> levels_at(const Calibration& calibration, std::uint16_t position,
                                    CalibratedPredictor predictor);
Matrix response_at(const Calibration& calibration, std::uint16_t position);  // of one that has responses

// What decides, besides the calibration, which predictor an encoder may use.
struct KnownOfStep {
  float sigma = 0;
  std::optional<float> previous_sigma;
  bool has_previous_latents = false;
  bool has_state = false;  // of as many rows
};

// An encoder's parameters as far as they are known before anything is quantised: predictor, position, change
// of sigma.
CalibratedParams first_params(const Calibration& calibration, const KnownOfStep& known);

// Whether a frame's header is one for this calibration: kInvalidArgument for another mode, kNotFound for
// another calibration, kBadFormat. A tensor without elements fits any.
Result<void> check_calibrated_fit(const FrameHeader& header, const Calibration& calibration);

// Whether a frame that predicts from another may do so from one of that checksum and those rows; no checksum:
// there is none.
Result<void> check_calibrated_previous(const FrameHeader& header, std::optional<std::uint32_t> checksum,
                                       std::size_t rows);

// Whether a frame's decoder was given the latents that it needs; `previous` says how many of the step before.
Result<void> check_latents(const CalibratedParams& params, std::size_t wanted, std::size_t given,
                           std::size_t previous);

// The scales that levels, step, shapes and offset lead to.
ComponentParams component_classes(std::span<const std::uint8_t> levels, const CalibratedParams& params);

// Coded order of the coefficients of all frequencies, whole pictures.
RowBands frequency_bands(const TokenGrid& grid, std::size_t rows);

// Coded order of the rows of a frame that predicts from one with the bands `last`, which is of as many rows.
Result<RowBands> decode_order(const CalibratedBody& body, std::size_t rows, LastBands last,
                              IndexTables& tables);

// The band of each row as the frame leaves them to the next; empty: all in the first.
std::vector<std::uint8_t> bands_left_by(const CalibratedParams& params, const RowBands& bands);

// y, in place of its prediction: adds step * index, the indices in the coded order of `bands`, transformed
// back if the frame says so, and keeps it in range. Indices of fewer places than rows: those behind are 0.
// Threads of the pool share the components.
void advance_components(const CalibratedParams& params, const RowBands& bands,
                        std::span<const std::int32_t> indices, ChunkPool& pool, Matrix& prediction);

// `change` says whether delta_sigma is written.
void write_calibrated_params(ByteWriter& out, const CalibratedParams& params, bool change);

// The grid of coefficients. kBadFormat if `rows` are not whole pictures on it.
void write_grid(ByteWriter& out, const TokenGrid& grid);
Result<TokenGrid> read_grid(ByteReader& in, std::size_t rows);

// The scales of `classes`, as differences from those that levels and params lead to.
void write_scales(ByteWriter& out, std::span<const std::uint8_t> levels, const CalibratedParams& params,
                  const ComponentParams& classes);

// On top of the scales that are there.
Result<void> read_scales(ByteReader& in, ComponentParams& components);

// The byte that says shapes and which parts there are, both ways. kBadFormat if parts exclude each other.
std::uint8_t shapes_byte(const CalibratedParams& params);
Result<void> read_shapes(std::uint8_t byte, CalibratedParams& params);  // sets all that the byte says

Result<void> check_step(const CalibratedParams& params);  // kBadFormat if it is out of range

// All but delta_sigma, whose presence depends on the calibration.
Result<CalibratedParams> read_calibrated_params(ByteReader& in);

Result<CalibratedBody> parse_calibrated(const ParsedFrame& frame, const Calibration& calibration);

}  // namespace pinion::codec
