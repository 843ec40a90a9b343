#include "pinion/codec/mapped/map_choice.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/math/cholesky.h"

namespace pinion::codec {
namespace {

constexpr double kFramesPerMap = 48;          // that a map is expected to serve: it outlives its job
constexpr double kShareOfDoubt = 1.0 / 16;    // rounding of a coefficient, over the variance of its estimate
constexpr double kLeastVariance = 1e-3;       // of a latent, over their mean, that roundings follow
constexpr double kMostCoefficient = 1 << 25;  // in roundings

// Rows of a frame: their latents and states about the means of all.
struct KnownRows {
  Matrix latents;  // [rows, L]
  Matrix states;   // [rows, d]

  KnownRows(std::size_t rows, std::size_t latent_channels, std::size_t channels)
      : latents(rows, latent_channels), states(rows, channels) {}
};

// Every `stride`th row from the `first` on.
KnownRows rows_of(const KnownRows& all, std::size_t first, std::size_t stride) {
  KnownRows some((all.states.rows - first + stride - 1) / stride, all.latents.columns, all.states.columns);
  for (std::size_t r = 0; r < some.states.rows; ++r) {
    std::ranges::copy(all.latents.row(first + r * stride), some.latents.row(r).begin());
    std::ranges::copy(all.states.row(first + r * stride), some.states.row(r).begin());
  }
  return some;
}

KnownRows rows_of(const MapProblem& problem) {
  const Matrix& values = problem.centred.values;
  const std::size_t count = problem.latents.size() / values.rows;
  KnownRows all(values.rows, count, values.columns);
  std::vector<double> means(count);
  for (std::size_t i = 0; i < problem.latents.size(); ++i) {
    means[i % count] += static_cast<double>(problem.latents[i]) / static_cast<double>(values.rows);
  }
  for (std::size_t i = 0; i < problem.latents.size(); ++i) {
    all.latents.values[i] = static_cast<float>(static_cast<double>(problem.latents[i]) - means[i % count]);
  }
  all.states = transpose(*problem.centred.transposed);
  return all;
}

// Bits for each row that taking off what the map makes saves where white errors are allowed, `noise` the mean
// square of an element's: by how much states get smaller along the map's directions. Others change little.
double saved_bits(const Matrix& map, const KnownRows& rows, double noise) {
  const Matrix directions = transpose(map);                                      // [d, L]
  const Matrix along = multiply_transposed(transpose(rows.states), directions);  // [rows, L]
  const Matrix gram = multiply_transposed(directions, directions);
  const Matrix known = multiply_transposed(transpose(rows.latents), gram);
  Matrix left = along;
  for (std::size_t i = 0; i < left.values.size(); ++i) left.values[i] -= known.values[i];
  const auto log_volume = [&](const Matrix& values) {
    const Matrix squares = multiply_transposed(values, values);
    std::vector<double> covariance(squares.values.size());
    for (std::size_t i = 0; i < covariance.size(); ++i) {
      covariance[i] = static_cast<double>(squares.values[i]) / static_cast<double>(values.rows) +
                      noise * static_cast<double>(gram.values[i]);
    }
    return log_determinant(std::move(covariance), squares.rows);
  };
  const std::optional<double> before = log_volume(along), after = log_volume(left);
  return before && after ? (*before - *after) / (2 * std::log(2.0)) : 0;
}

// Rounded well below what a fit to so many rows is uncertain by; nothing if that is out of range.
std::optional<MapFit> rounded(const Matrix& map, double rows, const Matrix& latents, double noise) {
  std::vector<double> variances(map.rows);
  double mean = 0;
  for (std::size_t r = 0; r < latents.rows; ++r) {
    for (std::size_t l = 0; l < map.rows; ++l) {
      const auto value = static_cast<double>(latents.row(r)[l]);
      variances[l] += value * value / static_cast<double>(latents.rows);
      mean += value * value / static_cast<double>(latents.values.size());
    }
  }
  std::vector<double> steps;
  for (std::size_t l = 0; l < map.rows; ++l) {
    const double variance = std::max(variances[l], kLeastVariance * mean);
    steps.push_back(std::sqrt(12 * kShareOfDoubt * noise / (rows * variance)));
    const double rounding = std::min(1.0, steps.back());  // an asset has none above
    for (const float value : map.row(l)) {
      if (!(std::abs(static_cast<double>(value)) < kMostCoefficient * rounding)) return std::nullopt;
    }
  }
  Bytes asset = encode_basis(map, steps);
  auto decoded = decode_basis(asset, kOwnBasisLimits);
  if (!decoded.ok()) return std::nullopt;
  return MapFit{std::move(decoded).value(), std::move(asset)};
}

}  // namespace

void MapChooser::choose(const MapProblem& problem) {
  const std::size_t rows = problem.centred.values.rows, channels = problem.centred.values.columns;
  const std::size_t latents = problem.latents.size() / rows;
  std::optional<MapFit> kept = std::exchange(current_, std::nullopt);
  if (kept && (kept->map->rows.rows != latents || kept->map->rows.columns != channels)) kept.reset();
  if (latents == 0 || latents > kMostMapLatents || latents > channels || rows < 2) return;
  const KnownRows all = rows_of(problem);
  const double noise = problem.target_error / static_cast<double>(channels);
  // In bits: what a map saves while it serves, without what it costs to send.
  const auto worth_of = [&](double saves) { return kFramesPerMap * static_cast<double>(rows) * saves; };
  double kept_worth = 0;
  if (kept) {
    const double sent_bits = problem.current_is_held ? 0 : 8.0 * static_cast<double>(kept->asset.size());
    const double worth = worth_of(saved_bits(kept->map->rows, all, noise)) - sent_bits;
    if (worth > 0) {
      kept_worth = worth;
      current_ = std::move(kept);
    }
  }
  if (sums_.latents() != latents || sums_.channels() != channels) sums_ = MapSums(latents, channels);
  // A fit says more about the rows that it is made of than about others, so half of these judge it.
  MapSums without_half = sums_;
  const KnownRows even = rows_of(all, 0, 2);
  without_half.add(even.latents, even.states);
  sums_.add(all.latents, all.states);
  const Matrix judged = without_half.fit(), fresh = sums_.fit();
  if (judged.empty() || fresh.empty()) return;
  const double saves = saved_bits(judged, rows_of(all, 1, 2), noise);
  const double worth = worth_of(saves) - kept_worth;
  if (!(worth > 0)) return;
  std::optional<MapFit> found = rounded(fresh, sums_.rows(), all.latents, noise);
  if (found && 8.0 * static_cast<double>(found->asset.size()) < worth) current_ = std::move(found);
}

Result<void> MapChooser::offer_sums(ByteSpan file) {
  PINION_TRY(sums_, MapSums::read(file));
  return {};
}

Result<void> MapChooser::offer(ByteSpan asset) {
  PINION_TRY(auto map, decode_basis(asset, kOwnBasisLimits));
  current_ = MapFit{std::move(map), Bytes(asset.begin(), asset.end())};
  return {};
}

}  // namespace pinion::codec
