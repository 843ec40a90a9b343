#include "pinion/codec/mapped/map_sums.h"

#include <cmath>

#include "pinion/base/crc32c.h"
#include "pinion/codec/math/all_finite.h"
#include "pinion/codec/math/cholesky.h"

namespace pinion::codec {
namespace {

constexpr float kRidge = 1e-3f;               // times the mean variance of a latent
constexpr std::uint32_t kMagic = 0x31534d50;  // "PMS1"
constexpr double kKept = 1 - 1.0 / 256;       // of the sums with each frame: shared ones outlive many clients
constexpr double kKeptIfOdd = 0.5;            // where a frame is of another kind
constexpr double kOddVariance = 100;          // over that of the sums, or below it
constexpr std::size_t kHeadBytes = 4 + 4 + 4 + 8;
constexpr std::uint32_t kMostChannels = 65536;

void add_to(const Matrix& more, Matrix& sums) {
  for (std::size_t i = 0; i < more.values.size(); ++i) sums.values[i] += more.values[i];
}

void write_values(ByteWriter& out, const Matrix& matrix) {
  out.write_bytes(std::as_bytes(std::span(matrix.values)));
}

void read_values(ByteReader& in, Matrix& matrix) {
  for (float& value : matrix.values) value = in.read<float>();
}

}  // namespace

void MapSums::add(const Matrix& latents, const Matrix& states) {
  PINION_ASSERT(latents.rows == states.rows && latents.columns == gram_.rows &&
                states.columns == cross_.columns);
  MapSums frame;
  frame.gram_ = multiply_transposed(latents, latents);
  frame.cross_ = multiply_transposed(latents, states);
  frame.rows_ = static_cast<double>(latents.rows);
  if (!all_finite(frame.gram_.values) || !all_finite(frame.cross_.values)) return;
  const double seen = variance(), now = frame.variance();
  if (rows_ > 0 && (now > kOddVariance * seen || seen > kOddVariance * now)) {
    fade(kKeptIfOdd);
    if (rows_ < frame.rows_) *this = std::move(frame);
    return;
  }
  fade(kKept);
  add_to(frame.gram_, gram_);
  add_to(frame.cross_, cross_);
  rows_ += frame.rows_;
}

double MapSums::variance() const {
  double sum = 0;
  for (std::size_t l = 0; l < gram_.rows; ++l) sum += static_cast<double>(gram_.row(l)[l]);
  return rows_ > 0 ? sum / (static_cast<double>(gram_.rows) * rows_) : 0;
}

void MapSums::fade(double share) {
  for (Matrix* sums : {&gram_, &cross_}) {
    for (float& value : sums->values) value *= static_cast<float>(share);
  }
  rows_ *= share;
}

Matrix MapSums::fit() const {
  const double size = variance() * rows_;  // of the diagonal
  if (!(size > 0) || !std::isfinite(size)) return {};
  const auto scale = static_cast<float>(1 / size);
  Matrix gram = gram_, cross = cross_;
  for (float& value : gram.values) value *= scale;
  for (std::size_t l = 0; l < gram.rows; ++l) gram.row(l)[l] += kRidge;
  for (float& value : cross.values) value *= scale;
  const std::optional<Matrix> inverse = inverse_of_positive(gram);
  return inverse ? multiply_transposed(*inverse, cross) : Matrix();
}

Bytes MapSums::write() const {
  ByteWriter out;
  out.write(kMagic);
  out.write(static_cast<std::uint32_t>(latents()));
  out.write(static_cast<std::uint32_t>(channels()));
  out.write(rows_);
  write_values(out, gram_);
  write_values(out, cross_);
  out.write(crc32c(out.view()));
  return std::move(out).take();
}

Result<MapSums> MapSums::read(ByteSpan file) {
  const Error damaged{Errc::kBadFormat, "what earlier jobs taught about latents is damaged", ""};
  ByteReader in(file);
  const auto magic = in.read<std::uint32_t>();
  const auto latents = in.read<std::uint32_t>(), channels = in.read<std::uint32_t>();
  const auto rows = in.read<double>();
  if (!in.check("sums").ok() || magic != kMagic || latents == 0 || latents > kMostMapLatents ||
      channels == 0 || channels > kMostChannels || !(rows > 0) || !std::isfinite(rows)) {
    return damaged;
  }
  const std::size_t values = std::size_t{latents} * (std::size_t{latents} + channels);
  if (file.size() != kHeadBytes + sizeof(float) * values + sizeof(std::uint32_t)) return damaged;
  MapSums sums(latents, channels);
  sums.rows_ = rows;
  read_values(in, sums.gram_);
  read_values(in, sums.cross_);
  const auto checksum = in.read<std::uint32_t>();
  if (checksum != crc32c(file.first(file.size() - sizeof(checksum))) || !all_finite(sums.gram_.values) ||
      !all_finite(sums.cross_.values)) {
    return damaged;
  }
  return sums;
}

}  // namespace pinion::codec
