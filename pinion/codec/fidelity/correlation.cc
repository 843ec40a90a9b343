#include "pinion/codec/fidelity/correlation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kTogether = 16;  // components that are one piece of work
constexpr double kRidge = 1e-6;        // against references that say the same

// Rows that lie beside each other are read together.
struct Block {
  std::size_t begin, count;
};

std::vector<Block> sampled_blocks(std::size_t rows, std::size_t components) {
  constexpr std::size_t kBlockRows = 8;
  constexpr std::size_t kMinBlocks = 32;
  constexpr std::size_t kValues = 1 << 18;
  const std::size_t blocks = std::max(kMinBlocks, kValues / components / kBlockRows);
  if (rows <= blocks * kBlockRows * 3 / 2) return {{0, rows}};
  std::vector<Block> sampled;
  for (std::size_t i = 0; i < blocks; ++i) sampled.push_back({i * rows / blocks, kBlockRows});
  return sampled;
}

double mean_of(std::span<const std::int32_t> values) {
  std::int64_t sum = 0;
  for (const std::int32_t value : values) sum += value;
  return static_cast<double>(sum) / static_cast<double>(values.size());
}

// What the best prediction leaves of the sample.
Matrix best_residuals(const ComponentSample& sample, ChunkPool& pool) {
  Matrix residuals = sample.values;
  pool.run_in_groups(residuals.rows, kTogether, [&](std::size_t k, std::size_t) {
    const Coefficients best = sample.correlations[k].best();
    const auto row = residuals.row(k);
    for (std::size_t i = 0; i < kMaxReferences; ++i) {
      if (sample.before[i].empty() || best[i] == 0) continue;
      const auto factor = static_cast<float>(best[i]);
      const auto before = sample.before[i].row(k);
      for (std::size_t r = 0; r < row.size(); ++r) row[r] -= factor * before[r];
    }
  });
  return residuals;
}

// Looks at how the rows differ in size. Where they differ much, weights fall with a row's distance from the
// centre that they define, and it comes to rest among the many short rows: that about minimises the sum of
// the logarithms of the distances, and so the bits.
class RowSizes {
 public:
  RowSizes(Matrix residuals, ChunkPool& pool)
      : residuals_(std::move(residuals)), pool_(pool), weights_(residuals_.columns) {
    std::fill(weights_.begin(), weights_.end(), 1 / static_cast<float>(residuals_.columns));
    const double all = energy(residuals_.values);
    if (all > 0) unit_ = static_cast<float>(static_cast<double>(weights_.size()) / all);
    measure();
    if (alike()) return;
    for (int i = 0; i < kIterations; ++i) {
      const double floor = kUnheardSize * mean();
      double total = 0;
      for (const double size : sizes_) total += 1 / (size + floor);
      for (std::size_t r = 0; r < sizes_.size(); ++r) {
        weights_[r] = static_cast<float>(1 / (sizes_[r] + floor) / total);
      }
      measure();
    }
  }

  bool alike() const {
    double logarithms = 0;
    const double all = mean();
    if (all == 0) return true;
    for (const double size : sizes_) logarithms += std::log2(size / all + kUnheardSize);
    return std::exp2(logarithms / static_cast<double>(sizes_.size())) > kAlike;
  }

  const std::vector<float>& weights() const { return weights_; }

  std::vector<RowGroup> groups() const {
    std::array<double, kGroups> counts{}, sums{};
    const double all = mean();
    for (const double size : sizes_) {
      const double level = std::log2(size / all + kUnheardSize) - std::log2(kUnheardSize);
      const auto group = std::min(static_cast<std::size_t>(std::max(level, 0.0)), kGroups - 1);
      ++counts[group];
      sums[group] += size;
    }
    std::vector<RowGroup> groups;
    for (std::size_t i = 0; i < kGroups; ++i) {
      if (counts[i] > 0)
        groups.push_back({counts[i] / static_cast<double>(sizes_.size()), sums[i] / counts[i] / all});
    }
    return groups;
  }

 private:
  static constexpr int kIterations = 5;
  static constexpr double kAlike = 0.97;        // geometric over arithmetic mean of the sizes
  static constexpr double kUnheardSize = 0.01;  // of the mean: shorter rows cost about nothing
  static constexpr std::size_t kGroups = 16;
  static constexpr std::size_t kRowsTogether = 64;  // that are one piece of work

  double mean() const {
    return std::accumulate(sizes_.begin(), sizes_.end(), 0.0) / static_cast<double>(sizes_.size());
  }

  // Squared distances of the rows from the weighted centre.
  void measure() {
    sizes_.assign(weights_.size(), 0);
    std::vector<float> centre(residuals_.rows);
    pool_.run_in_groups(residuals_.rows, kTogether,
                        [&](std::size_t k, std::size_t) { centre[k] = dot(residuals_.row(k), weights_); });
    pool_.run((sizes_.size() + kRowsTogether - 1) / kRowsTogether, [&](std::size_t i, std::size_t) {
      const std::size_t begin = i * kRowsTogether, count = std::min(kRowsTogether, sizes_.size() - begin);
      for (std::size_t k = 0; k < residuals_.rows; ++k) {
        vector_loops().add_squares(residuals_.row(k).data() + begin, centre[k], unit_, count,
                                   sizes_.data() + begin);
      }
    });
  }

  Matrix residuals_;
  ChunkPool& pool_;
  std::vector<float> weights_;
  float unit_ = 1;  // of the sizes, so that they stay within the range of float
  std::vector<float> sizes_;
};

}  // namespace

double Correlation::left_after(const Coefficients& c) const {
  const double linear = c[0] * cross[0] + c[1] * cross[1];
  const double quadratic = c[0] * c[0] * square[0] + c[1] * c[1] * square[1] + 2 * c[0] * c[1] * between;
  return std::max(0.0, own - 2 * linear + quadratic);
}

double Correlation::best_first(double second) const {
  return square[0] > 0 ? std::max(0.0, (cross[0] - second * between) / square[0]) : 0;
}

Coefficients Correlation::best() const {
  const double a = square[0] * (1 + kRidge);
  const double b = square[1] * (1 + kRidge);
  const double determinant = a * b - between * between;
  if (!(square[1] > 0) || !(determinant > 0)) return {best_first(0), 0};
  const double limit = 128.0 / kCoefficientOne;
  const double second = std::clamp((cross[1] * a - cross[0] * between) / determinant, -limit, limit);
  return {best_first(second), second};
}

ComponentSample sample_components(const Projection& projection, const Prediction& prediction,
                                  ChunkPool& pool) {
  const std::size_t components = projection.components->rows;
  const std::size_t rows = projection.components->columns;
  const std::vector<Block> blocks = sampled_blocks(rows, components);
  std::size_t sampled = 0;
  for (const Block& block : blocks) sampled += block.count;
  ComponentSample sample;
  sample.values = Matrix(components, sampled);
  for (std::size_t i = 0; i < prediction.references(); ++i) {
    sample.before[i] = Matrix(components, sampled);
    sample.before_means[i].resize(components);
  }
  sample.correlations.resize(components);
  const std::vector<float> nothing(sampled);
  pool.run_in_groups(components, kTogether, [&](std::size_t k, std::size_t) {
    const auto values = projection.components->row(k);
    float* to = sample.values.row(k).data();
    for (const Block& block : blocks) to = std::copy_n(values.data() + block.begin, block.count, to);
    std::array<const float*, kMaxReferences> before = {nothing.data(), nothing.data()};
    for (std::size_t i = 0; i < prediction.references(); ++i) {
      const std::vector<std::int32_t>& reference = prediction.previous->reference(i);
      if ((k + 1) * rows > reference.size()) continue;
      const auto unit = static_cast<float>(prediction.steps[i] / kStateOne);
      float* out = sample.before[i].row(k).data();
      before[i] = out;
      for (const Block& block : blocks) {
        const std::int32_t* from = reference.data() + k * rows + block.begin;
        for (std::size_t r = 0; r < block.count; ++r) *out++ = static_cast<float>(from[r]) * unit;
      }
      sample.before_means[i][k] =
          mean_of(std::span(reference).subspan(k * rows, rows)) * static_cast<double>(unit);
    }
    const std::span<const float> own = sample.values.row(k);
    const ProductSums sums = vector_loops().products(own.data(), before[0], before[1], sampled);
    const auto n = static_cast<double>(sampled);
    const double mean = sums.sums[0] / n;
    const std::array<double, 2> means = {sums.sums[1] / n, sums.sums[2] / n};
    sample.correlations[k] = {
        .own = std::max(0.0, sums.own / n - mean * mean),
        .cross = {sums.cross[0] / n - mean * means[0], sums.cross[1] / n - mean * means[1]},
        .square = {std::max(0.0, sums.square[0] / n - means[0] * means[0]),
                   std::max(0.0, sums.square[1] / n - means[1] * means[1])},
        .between = sums.between / n - means[0] * means[1]};
  });
  const RowSizes sizes(best_residuals(sample, pool), pool);
  sample.row_groups = {RowGroup{}};
  if (!sizes.alike()) {
    sample.row_weights = sizes.weights();
    sample.row_groups = sizes.groups();
  }
  return sample;
}

std::vector<double> predicted_variances(const ComponentSample& sample) {
  std::vector<double> left;
  for (const Correlation& c : sample.correlations) left.push_back(c.left_after(c.best()));
  return left;
}

std::uint8_t nearest_coefficient(double value) {
  return static_cast<std::uint8_t>(
      std::lround(std::clamp(value * kCoefficientOne, 0.0, double{kMaxCoefficient})));
}

}  // namespace pinion::codec
