#pragma once
// The calibration asset of docs/format.md §13: what is known beforehand about one stream at one cut of one
// model. docs/calibration.md explains it.
//
// A Calibration is immutable once it is in use and may be shared between threads.

#include <memory>
#include <string>
#include <vector>

#include "pinion/base/sha256.h"
#include "pinion/codec/frame_format.h"
#include "pinion/codec/math/matrix.h"

namespace pinion::codec {

inline constexpr std::size_t kMaxCalibrationChannels = 65536;
inline constexpr std::size_t kMaxCalibrationLatents = 4096;
inline constexpr std::size_t kMaxCalibrationRecords = 255;
inline constexpr std::uint64_t kMaxCalibrationCut = 65535;
inline constexpr std::size_t kMaxStreamName = 64;
inline constexpr std::uint64_t kMaxCalibrationValues = 1ull << 26;
inline constexpr int kLevelZero = 128;  // the level of a deviation of 1
inline constexpr int kLevelsPerOctave = 8;
inline constexpr double kMaxLoudness = 20;  // octaves, either way, that a row's loudness is taken as

// Whose statistics they are.
struct CalibrationKey {
  Digest model{};  // content hash of the model
  std::uint32_t cut = 0;
  std::string stream;  // "image", "text", "velocity"
  bool operator==(const CalibrationKey&) const = default;
};

// One point of the schedule. d channels, K components, L latents; F = (K if streams have history) + 2 L.
struct CalibrationRecord {
  float sigma = 0;
  std::vector<float> mean;                   // [d]
  std::vector<float> latent_mean;            // [L]
  std::vector<float> change_mean;            // [L], of the latents' change per change of sigma
  Matrix latents_alone;                      // [L, K]: prediction of y from the latents
  Matrix history;                            // [F, K]: from [last y, latents, change]
  std::vector<std::uint8_t> levels;          // [K]: log2 of the deviation of y from the first prediction
  std::vector<std::uint8_t> history_levels;  // [K]: and from the second, as level_of()
  std::vector<float> gain;                   // [K]: output error energy per squared error of y
  float floor = 0;                           // output error energy of a row that stays when y is exact
  float output_energy = 1;                   // centred energy of an output row
  std::vector<float> loudness;               // [d] or empty: rows are all alike. An error of a row counts
  float loudness_bias = 0;                   // 2^(loudness_bias + (row - mean) loudness) times gain and floor
  Matrix response;  // [d, L] or empty: what an error of a row makes of its row of the velocity, on average
};

struct Calibration {
  BasisId id{};  // of the bytes it was parsed from; not written
  CalibrationKey key;
  bool has_history = true;    // frames predict from the frame before too
  bool has_loudness = false;  // records say how loud a row is
  // Records have responses, and the sender takes what they say of its errors out of the velocity again
  // (CalibratedEncoder::correction): gain, floor and projection are about what is left.
  bool has_response = false;
  Matrix projection;                       // [d, K]: y = (tensor - mean) projection
  Matrix reconstruction;                   // [K + L, d]: tensor = mean + [y, latents] reconstruction
  std::vector<CalibrationRecord> records;  // sigma falls

  std::size_t channels() const { return projection.rows; }
  std::size_t components() const { return projection.columns; }
  std::size_t latents() const { return reconstruction.rows - projection.columns; }
};

// The level of a standard deviation.
std::uint8_t level_of(double deviation);

// Quantises and writes. The calibration must be whole: shapes as above, all values finite, 1 to
// kMaxCalibrationRecords records. Writing what was parsed from written bytes gives the same bytes.
Bytes write_calibration(const Calibration& calibration);

// kTooLarge if it holds more than `max_values` numbers; nothing is allocated before that is known.
Result<std::shared_ptr<const Calibration>> parse_calibration(
    ByteSpan asset, std::uint64_t max_values = kMaxCalibrationValues);

// kModelMismatch if the calibration is of another model, kInvalidArgument if of another cut or stream.
Result<void> check_calibration(const Calibration& calibration, const CalibrationKey& wanted);

}  // namespace pinion::codec
