#include "pinion/codec/frame_quantiser.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/class_choice.h"

namespace pinion::codec {
namespace {

constexpr double kChangeCostBits = 4;  // of the parameters, for a coefficient unlike its neighbour's
constexpr double kErrorPerBit =
    2 * 0.6931471805599453 / 12;  // squared steps that one more bit saves elsewhere

int nearest_coefficient(double value) {
  return static_cast<int>(
      std::lround(std::clamp(value * kCoefficientOne, 0.0, double{(1 << kCoefficientBits) - 1})));
}

// A coefficient for every component: its own best one only where that saves more than saying so costs.
std::vector<std::uint8_t> choose_coefficients(std::span<const Correlation> correlations, double step,
                                              std::size_t rows) {
  std::vector<std::uint8_t> chosen;
  int near = nearest_coefficient(correlations.empty() ? 0 : correlations.front().best_coefficient());
  for (const Correlation& c : correlations) {
    const auto bits = [&](int coefficient) {
      const double left = c.left_after(static_cast<double>(coefficient) / kCoefficientOne);
      return 0.5 * static_cast<double>(rows) * std::log2(1 + 17 * left / (step * step));
    };
    if (const int own = nearest_coefficient(c.best_coefficient()); bits(own) + kChangeCostBits < bits(near))
      near = own;
    if (bits(0) + kChangeCostBits < bits(near)) near = 0;
    chosen.push_back(static_cast<std::uint8_t>(near));
  }
  return chosen;
}

// False if a component's residuals cost more bits than the error they remove is worth.
bool worth_coding(std::span<const float> exact, std::span<const std::int32_t> residuals) {
  double ones = 0, more = 0, ones_sum = 0, gain = 0, more_bits = 0;
  for (std::size_t i = 0; i < residuals.size(); ++i) {
    const double size = std::abs(exact[i]);
    const int index = std::abs(residuals[i]);
    if (index == 1) {
      ++ones;
      ones_sum += size;
    } else if (index > 1) {
      ++more;
      gain += size * size - (size - index) * (size - index);
      more_bits += 2 * std::log2(index);
    }
  }
  if (ones + more == 0) return false;
  if (ones > 0) gain += ones_sum * ones_sum / ones;
  const auto total = static_cast<double>(residuals.size());
  const auto cost = [total](double count) { return count > 0 ? count * std::log2(total / count) : 0; };
  const double bits = cost(total - ones - more) + cost(ones) + cost(more) + ones + more + more_bits;
  return gain > kErrorPerBit * bits;
}

}  // namespace

double Correlation::left_after(double coefficient) const {
  return std::max(0.0, own - 2 * coefficient * cross + coefficient * coefficient * previous);
}

std::vector<Correlation> correlate(const Projection& projection, const Prediction& prediction) {
  std::vector<Correlation> result;
  const std::size_t rows = projection.components.columns;
  const double unit = prediction.previous_step / kStateOne;
  for (std::size_t k = 0; k < projection.components.rows; ++k) {
    Correlation c{projection.variances[k], 0, 0};
    if (prediction.previous != nullptr && (k + 1) * rows <= prediction.previous->components.size()) {
      const auto values = projection.components.row(k);
      const std::int32_t* before = prediction.previous->components.data() + k * rows;
      for (std::size_t r = 0; r < rows; ++r) {
        const double p = before[r] * unit;
        c.cross += values[r] * p;
        c.previous += p * p;
      }
      c.cross /= static_cast<double>(rows);
      c.previous /= static_cast<double>(rows);
    }
    result.push_back(c);
  }
  return result;
}

std::vector<double> predicted_variances(const Projection& projection, const Prediction& prediction) {
  std::vector<double> left;
  for (const Correlation& c : correlate(projection, prediction)) {
    left.push_back(c.left_after(std::max(0.0, c.best_coefficient())));
  }
  return left;
}

FrameQuantiser::FrameQuantiser(const QuantiserInput& input, IndexTables& tables)
    : input_(input),
      tables_(tables),
      rows_(input.projection.components.columns),
      components_(input.projection.components.rows),
      correlations_(correlate(input.projection, input.prediction)) {}

std::optional<QuantisedFrame> FrameQuantiser::quantise(double step) const {
  QuantisedFrame frame;
  frame.params.step = static_cast<float>(step);
  if (!std::isnormal(frame.params.step)) return std::nullopt;
  if (input_.prediction.previous != nullptr) {
    const double ratio = std::round(input_.prediction.previous_step / frame.params.step * (1 << kRatioBits));
    if (!(ratio >= 1 && ratio <= static_cast<double>(kMaxRatio))) return std::nullopt;
    frame.params.ratio = static_cast<std::uint32_t>(ratio);
  }
  if (!quantise_means(frame) || !quantise_components(frame)) return std::nullopt;
  return frame;
}

bool FrameQuantiser::quantise_means(QuantisedFrame& frame) const {
  FidelityParams& params = frame.params;
  const StreamState* previous = input_.prediction.previous;
  const std::size_t channels = input_.means.size();
  double step = params.step;
  while (
      params.mean_shift<kMaxMeanShift&& static_cast<double>(channels) * step * step / 12> input_.mean_error) {
    ++params.mean_shift;
    step /= 2;
  }
  if (previous != nullptr) {
    Correlation c;
    const double unit = std::ldexp(input_.prediction.previous_step / kStateOne, -previous->mean_shift);
    for (std::size_t i = 0; i < channels; ++i) {
      const double before = previous->means[i] * unit;
      c.cross += input_.means[i] * before;
      c.previous += before * before;
    }
    params.mean_coefficient = static_cast<std::uint8_t>(nearest_coefficient(c.best_coefficient()));
  }
  std::vector<std::int64_t> prediction(channels);
  Predictor(params, previous).means(prediction);
  frame.mean_residuals.resize(channels);
  for (std::size_t i = 0; i < channels; ++i) {
    const double residual = input_.means[i] / step - static_cast<double>(prediction[i]) / kStateOne;
    if (!(std::abs(residual) < kMaxIndex)) return false;
    frame.mean_residuals[i] = static_cast<std::int32_t>(std::lround(residual));
  }
  frame.state.mean_shift = params.mean_shift;
  frame.state.means.resize(channels);
  const ClassChoice choice = choose_class(frame.mean_residuals, tables_);
  params.mean_class = choice.index_class;
  frame.bits += choice.bits;
  return advance(prediction, frame.mean_residuals, {}, frame.state.means).ok();
}

bool FrameQuantiser::quantise_components(QuantisedFrame& frame) const {
  FidelityParams& params = frame.params;
  const StreamState* previous = input_.prediction.previous;
  if (previous != nullptr)
    params.components.coefficients = choose_coefficients(correlations_, params.step, rows_);
  const Predictor predictor(params, previous);
  const float inverse = 1 / params.step;
  std::vector<std::int64_t> prediction(rows_);
  std::vector<float> exact(components_ * rows_);  // residuals before rounding
  frame.residuals.resize(components_ * rows_);
  for (std::size_t k = 0; k < components_; ++k) {
    predictor.component(k, prediction);
    const auto values = input_.projection.components.row(k);
    const auto before = std::span(exact).subspan(k * rows_, rows_);
    const auto after = std::span(frame.residuals).subspan(k * rows_, rows_);
    float largest = 0;
    for (std::size_t r = 0; r < rows_; ++r) {
      before[r] = values[r] * inverse - static_cast<float>(prediction[r]) * (1.0f / kStateOne);
      largest = std::max(largest, std::abs(before[r]));
    }
    if (!(largest < static_cast<float>(kMaxIndex))) return false;
    for (std::size_t r = 0; r < rows_; ++r) after[r] = static_cast<std::int32_t>(std::lrint(before[r]));
    if (!worth_coding(before, after)) std::fill(after.begin(), after.end(), 0);
  }
  frame.bits += choose_index_classes(frame.residuals, rows_, tables_, params.components);
  return set_states(frame, exact);
}

// Offsets at the centroids of the bins, class by class; then states and what they miss.
bool FrameQuantiser::set_states(QuantisedFrame& frame, std::span<const float> exact) const {
  ComponentParams& params = frame.params.components;
  struct Bin {
    double count = 0, distance = 0;  // of the value from its index toward zero
    std::uint8_t offset() const {
      const double mean = count > 0 ? distance / count : 0;
      return static_cast<std::uint8_t>(std::clamp(std::lround(mean * kStateOne), 0l, long{kMaxOffset}));
    }
  };
  std::array<std::array<Bin, 2>, kOffsetScales + 1> bins{};
  for (std::size_t k = 0; k < components_; ++k) {
    if (params.scales[k] == 0 || params.scales[k] > kOffsetScales) continue;
    for (std::size_t i = k * rows_; i < (k + 1) * rows_; ++i) {
      const int size = std::abs(frame.residuals[i]);
      if (size == 0) continue;
      Bin& bin = bins[params.scales[k]][size > 1];
      ++bin.count;
      bin.distance += size - std::abs(exact[i]);
    }
  }
  for (std::size_t scale = 0; scale < bins.size(); ++scale) {
    params.offsets[scale] = {bins[scale][0].offset(), bins[scale][1].offset()};
  }

  frame.state.components.resize(components_ * rows_);
  const Predictor predictor(frame.params, input_.prediction.previous);
  std::vector<std::int64_t> prediction(rows_);
  double error = 0;
  for (std::size_t k = 0; k < components_; ++k) {
    predictor.component(k, prediction);
    const auto state = std::span(frame.state.components).subspan(k * rows_, rows_);
    const std::uint8_t scale = params.scales[k];
    const BinOffsets offsets = scale <= kOffsetScales ? params.offsets[scale] : BinOffsets{};
    if (!advance(prediction, std::span<const std::int32_t>(frame.residuals).subspan(k * rows_, rows_),
                 offsets, state)
             .ok()) {
      return false;
    }
    const auto values = input_.projection.components.row(k);
    const float unit = frame.params.step / kStateOne;
    for (std::size_t r = 0; r < rows_; ++r) {
      const double difference = values[r] - static_cast<float>(state[r]) * unit;
      error += difference * difference;
    }
  }
  const double mean_step = std::ldexp(frame.params.step, -frame.params.mean_shift);
  frame.error = error / static_cast<double>(rows_) + input_.projection.outside +
                static_cast<double>(input_.means.size()) * mean_step * mean_step / 12;
  return true;
}

}  // namespace pinion::codec
