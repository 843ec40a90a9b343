#include "pinion/codec/frame_quantiser.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/band_choice.h"
#include "pinion/codec/class_choice.h"
#include "pinion/codec/predictor_choice.h"

namespace pinion::codec {
namespace {

constexpr double kErrorPerBit =
    2 * 0.6931471805599453 / 12;  // squared steps that one more bit saves elsewhere

// False if a component's residuals cost more bits than the error they remove is
// worth.
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

FrameQuantiser::FrameQuantiser(const QuantiserInput& input, IndexTables& tables)
    : input_(input),
      tables_(tables),
      rows_(input.projection.components.columns),
      components_(input.projection.components.rows),
      correlations_(correlate(input.projection, input.prediction)) {}

std::optional<QuantisedFrame> FrameQuantiser::quantise(double step, const QuantisedFrame* near) const {
  QuantisedFrame frame;
  frame.params.step = static_cast<float>(step);
  if (!std::isnormal(frame.params.step) || !set_ratios(frame.params) || !quantise_means(frame))
    return std::nullopt;
  if (frame.params.references > 0) {
    ComponentParams& params = frame.params.components;
    if (near != nullptr) {
      params.predictors = near->params.components.predictors;
      params.predictor_of = near->params.components.predictor_of;
    } else {
      choose_predictors(correlations_, frame.params.step, rows_, params);
    }
  }
  std::vector<float> exact(components_ * rows_);
  std::vector<std::int32_t> rounded(components_ * rows_);
  if (!round_components(frame.params, exact, rounded)) return std::nullopt;
  choose_classes(exact, rounded, near, frame);
  set_offsets(exact, frame);
  if (!set_state(frame)) return std::nullopt;
  return frame;
}

bool FrameQuantiser::set_ratios(FidelityParams& params) const {
  params.references = input_.prediction.references();
  for (std::size_t i = 0; i < params.references; ++i) {
    const double ratio = std::round(input_.prediction.steps[i] / params.step * (1 << kRatioBits));
    if (!(ratio >= 1 && ratio <= static_cast<double>(kMaxRatio))) return false;
    params.ratios[i] = static_cast<std::uint32_t>(ratio);
  }
  return true;
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
    const double unit = std::ldexp(input_.prediction.steps[0] / kStateOne, -previous->last.mean_shift);
    for (std::size_t i = 0; i < channels; ++i) {
      const double before = previous->last.means[i] * unit;
      c.cross[0] += input_.means[i] * before;
      c.square[0] += before * before;
    }
    params.mean_coefficient = nearest_coefficient(c.best_first(0));
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
  return advance_means(prediction, frame.mean_residuals, frame.state.means).ok();
}

bool FrameQuantiser::round_components(const FidelityParams& params, std::vector<float>& exact,
                                      std::vector<std::int32_t>& rounded) const {
  const Predictor predictor(params, input_.prediction.previous);
  const float inverse = 1 / params.step;
  std::vector<std::int64_t> prediction(rows_);
  for (std::size_t k = 0; k < components_; ++k) {
    predictor.component(k, prediction);
    const auto values = input_.projection.components.row(k);
    const auto before = std::span(exact).subspan(k * rows_, rows_);
    const auto after = std::span(rounded).subspan(k * rows_, rows_);
    float largest = 0;
    for (std::size_t r = 0; r < rows_; ++r) {
      before[r] = values[r] * inverse - static_cast<float>(prediction[r]) * (1.0f / kStateOne);
      largest = std::max(largest, std::abs(before[r]));
    }
    if (!(largest < static_cast<float>(kMaxIndex))) return false;
    for (std::size_t r = 0; r < rows_; ++r) after[r] = static_cast<std::int32_t>(std::lrint(before[r]));
    if (!worth_coding(before, after)) std::fill(after.begin(), after.end(), 0);
  }
  return true;
}

void FrameQuantiser::choose_classes(std::span<const float> exact, std::span<const std::int32_t> rounded,
                                    const QuantisedFrame* near, QuantisedFrame& frame) const {
  std::span<const std::uint8_t> expected;
  if (input_.prediction.previous != nullptr) expected = input_.prediction.previous->last.scales;
  const ComponentParams* near_params = near == nullptr ? nullptr : &near->params.components;
  const auto classes = [&](const RowBands& bands, std::vector<std::int32_t>& residuals,
                           ComponentParams& params) {
    residuals.resize(rounded.size());
    for (std::size_t begin = 0; begin < rounded.size(); begin += rows_) {
      bands.sort(rounded.subspan(begin, rows_), std::span(residuals).subspan(begin, rows_));
    }
    return choose_index_classes(
        {.values = residuals, .band_ends = bands.ends(), .expected = expected, .near = near_params}, tables_,
        params);
  };
  const BandChoice choice = choose_bands(exact, rows_);
  double banded_bits = std::numeric_limits<double>::infinity();
  if (choice.bands > 1) {
    frame.bands = RowBands(choice.band_of_row, choice.bands);
    banded_bits = classes(frame.bands, frame.residuals, frame.params.components);
    frame.band_map = encode_band_map(choice.band_of_row, frame.params, tables_);
    banded_bits += 8 * static_cast<double>(frame.band_map.size());
  }
  const bool one_is_out = near_params != nullptr && near_params->band_scales.size() > 1;
  if (choice.bands == 1 || !one_is_out) {
    std::vector<std::int32_t> residuals;
    ComponentParams params = frame.params.components;
    const double bits = classes(RowBands(rows_), residuals, params);
    if (bits < banded_bits) {
      frame.bands = RowBands(rows_);
      frame.band_map.clear();
      frame.residuals = std::move(residuals);
      frame.params.components = std::move(params);
      banded_bits = bits;
    }
  }
  frame.bits += banded_bits;
}

// Where values are rebuilt: at the centroids of the bins, class by class.
void FrameQuantiser::set_offsets(std::span<const float> exact, QuantisedFrame& frame) const {
  ComponentParams& params = frame.params.components;
  struct Bin {
    double count = 0,
           distance = 0;  // of the values from their index toward zero
    std::uint8_t offset() const {
      const double mean = count > 0 ? distance / count : 0;
      return static_cast<std::uint8_t>(std::clamp(std::lround(mean * kStateOne), 0l, long{kMaxOffset}));
    }
  };
  std::array<std::array<Bin, 2>, kOffsetScales + 1> bins{};
  for (std::size_t k = 0; k < components_; ++k) {
    std::size_t place = 0;
    for (std::size_t band = 0; band < frame.bands.count(); ++band) {
      const std::uint8_t scale = params.index_class(k, band).scale;
      const std::size_t end = frame.bands.ends()[band];
      if (scale == 0 || scale > kOffsetScales) place = end;
      for (; place < end; ++place) {
        const int size = std::abs(frame.residuals[k * rows_ + place]);
        if (size == 0) continue;
        Bin& bin = bins[scale][size > 1];
        ++bin.count;
        bin.distance += size - std::abs(exact[k * rows_ + frame.bands.row_at(place)]);
      }
    }
  }
  for (std::size_t scale = 0; scale < bins.size(); ++scale) {
    params.offsets[scale] = {bins[scale][0].offset(), bins[scale][1].offset()};
  }
}

bool FrameQuantiser::set_state(QuantisedFrame& frame) const {
  frame.state.components.resize(components_ * rows_);
  const Predictor predictor(frame.params, input_.prediction.previous);
  std::vector<std::int64_t> prediction(rows_);
  const float unit = frame.params.step / kStateOne;
  double error = 0;
  for (std::size_t k = 0; k < components_; ++k) {
    predictor.component(k, prediction);
    const auto state = std::span(frame.state.components).subspan(k * rows_, rows_);
    const ComponentStep step{.params = frame.params.components,
                             .component = k,
                             .bands = frame.bands,
                             .prediction = prediction,
                             .residuals = std::span(frame.residuals).subspan(k * rows_, rows_)};
    if (!advance_component(step, state).ok()) return false;
    const auto values = input_.projection.components.row(k);
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
