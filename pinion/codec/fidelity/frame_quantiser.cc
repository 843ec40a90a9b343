#include "pinion/codec/fidelity/frame_quantiser.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "pinion/codec/fidelity/band_choice.h"
#include "pinion/codec/indices/class_choice.h"
#include "pinion/codec/indices/row_offsets.h"

namespace pinion::codec {
namespace {

constexpr float kQuietVariance = 0.05f;         // squared steps: components below hold no news of the rows
constexpr std::size_t kOffsetSample = 65536;    // residuals from which offsets are taken, about
constexpr std::size_t kFewRows = 16;            // that one band suits
constexpr std::size_t kQuantisedTogether = 16;  // components that are one piece of work,
constexpr std::size_t kRowsTogether = 256;      // and rows

}  // namespace

FrameQuantiser::FrameQuantiser(const QuantiserInput& input, FidelityWorkspace& workspace, ChunkPool& pool)
    : input_(input),
      workspace_(workspace),
      tables_(workspace.tables),
      pool_(pool),
      rows_(input.projection.components->columns),
      components_(input.projection.components->rows) {
  workspace.predictions.resize(components_ * rows_);
  workspace.exact.resize(components_ * rows_);
  for (std::size_t i = 0; i < input.prediction.references(); ++i) {
    largest_reference_[i] = input.prediction.previous->largest(i);
  }
}

bool FrameQuantiser::prepare(double step, QuantisedFrame& frame) const {
  frame.params.step = static_cast<float>(step);
  if (!std::isnormal(frame.params.step) || !std::isnormal(1 / frame.params.step)) return false;
  if (!set_ratios(frame.params)) return false;
  if (frame.params.references > 0) {
    frame.params.components.predictors = input_.predictors.predictors;
    frame.params.components.predictor_of = input_.predictors.predictor_of;
  }
  return true;
}

std::optional<FrameQuantiser::Look> FrameQuantiser::look(double step) {
  QuantisedFrame frame;
  if (!prepare(step, frame) || !round_components({}, frame)) return std::nullopt;
  workspace_.residuals = std::move(frame.residuals);
  Look look{std::move(frame.coded), 0};
  for (std::size_t k = 0; k < components_; ++k) {
    look.error += weight_of(k) * (look.coded[k] != 0 ? error_at_centroids(bins_[k]) : bins_[k].square);
  }
  look.error *= step * step / static_cast<double>(rows_);
  return look;
}

std::optional<QuantisedFrame> FrameQuantiser::quantise(double step, std::span<const std::uint8_t> coded,
                                                       const QuantisedFrame* near) {
  QuantisedFrame frame;
  if (!prepare(step, frame) || !quantise_means(frame) || !round_components(coded, frame)) {
    return std::nullopt;
  }
  if (near == nullptr) measure_rows();
  choose_classes(near, frame);
  set_offsets(frame);
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
  const std::size_t channels = input_.centre.size();
  double step = params.step;
  const auto error = [&] { return static_cast<double>(channels) * step * step / 12; };
  while (params.mean_shift < kMaxMeanShift && error() > input_.mean_error) {
    ++params.mean_shift;
    step /= 2;
  }
  if (previous != nullptr) {
    Correlation c;
    const double unit = std::ldexp(input_.prediction.steps[0] / kStateOne, -previous->last.mean_shift);
    for (std::size_t i = 0; i < channels; ++i) {
      const double before = previous->last.means[i] * unit;
      c.cross[0] += input_.centre[i] * before;
      c.square[0] += before * before;
    }
    params.mean_coefficient = nearest_coefficient(c.best_first(0));
  }
  std::vector<std::int64_t> prediction(channels);
  Predictor(params, previous).means(prediction);
  frame.mean_residuals.resize(channels);
  for (std::size_t i = 0; i < channels; ++i) {
    const double residual = input_.centre[i] / step - static_cast<double>(prediction[i]) / kStateOne;
    if (!(std::abs(residual) < kMaxIndex)) return false;
    frame.mean_residuals[i] = static_cast<std::int32_t>(std::lround(residual));
  }
  frame.state.mean_shift = params.mean_shift;
  frame.state.means.resize(channels);
  const ClassChoice choice = choose_class(frame.mean_residuals, tables_);
  params.mean_class = choice.index_class;
  frame.bits += choice.bits;
  IndexHistograms histograms;
  for (const std::int32_t residual : frame.mean_residuals) {
    if (choice.index_class.scale > 0) {
      histograms.add(choice.index_class, static_cast<std::uint32_t>(std::abs(residual)), 1);
    }
  }
  frame.ideal_bits += histograms.bits();
  return advance_means(prediction, frame.mean_residuals, frame.state.means).ok();
}

bool FrameQuantiser::round_components(std::span<const std::uint8_t> coded, QuantisedFrame& frame) {
  const FidelityParams& params = frame.params;
  const Predictor predictor(params, input_.prediction.previous);
  if (!predictor.stays_in_range(largest_reference_)) return false;
  frame.residuals = std::move(workspace_.residuals);
  frame.residuals.resize(components_ * rows_);
  frame.coded.resize(components_);
  bins_.resize(components_);
  std::atomic<bool> in_range = true;
  pool_.run_in_groups(components_, kQuantisedTogether, [&](std::size_t k, std::size_t) {
    const std::span<std::int32_t> before(workspace_.predictions.data() + k * rows_, rows_);
    predictor.component(k, before);
    std::int32_t* const indices = frame.residuals.data() + k * rows_;
    const BinSums bins = vector_loops().round({.values = input_.projection.components->row(k).data(),
                                               .prediction = before.data(),
                                               .shift = static_cast<float>(input_.shifts[k]),
                                               .inverse_step = 1 / params.step,
                                               .count = rows_},
                                              workspace_.exact.data() + k * rows_, indices);
    if (!(bins.largest < static_cast<float>(kMaxIndex))) in_range = false;
    frame.coded[k] = coded.empty() ? worth_coding(bins, rows_, weight_of(k)) : coded[k];
    if (frame.coded[k] == 0) std::fill_n(indices, rows_, 0);
    bins_[k] = bins;
  });
  return in_range;
}

void FrameQuantiser::measure_rows() {
  row_sizes_.assign(rows_, 0);
  pool_.run((rows_ + kRowsTogether - 1) / kRowsTogether, [&](std::size_t i, std::size_t) {
    const std::size_t begin = i * kRowsTogether, count = std::min(kRowsTogether, rows_ - begin);
    for (std::size_t k = 0; k < components_; ++k) {
      const float variance = bins_[k].square / static_cast<float>(rows_);
      if (variance < kQuietVariance) continue;
      vector_loops().add_squares(exact(k).data() + begin, 0, 1 / variance, count, row_sizes_.data() + begin);
    }
  });
}

void FrameQuantiser::choose_classes(const QuantisedFrame* near, QuantisedFrame& frame) {
  ClassRequest request;
  if (input_.prediction.previous != nullptr) request.last_scales = input_.prediction.previous->last.scales;
  const auto note_ideal = [&](const RunPrices& runs) {
    IndexHistograms histograms;
    runs.count_in(frame.params.components, histograms);
    frame.ideal_bits += histograms.bits();
  };
  if (near != nullptr) {
    request.near = &near->params.components;
    frame.band_of_row = near->band_of_row;
    frame.band_map = near->band_map;
    frame.params.band_class = near->params.band_class;
    RunPrices runs(frame.residuals, rows_, frame.band_of_row, request.near->band_scales.size(), pool_);
    frame.bits += choose_index_classes(runs, request, tables_, pool_, frame.params.components);
    return note_ideal(runs);
  }
  const BandChoice choice = rows_ < kFewRows ? BandChoice{} : choose_bands(row_sizes_);
  RunPrices runs(frame.residuals, rows_, choice.band_of_row, choice.bands, pool_);
  const double bits = choose_index_classes(runs, request, tables_, pool_, frame.params.components);
  if (choice.bands > 1) {
    Bytes map = encode_band_map(choice.band_of_row, frame.params, tables_);
    const double with_map = bits + 8 * static_cast<double>(map.size());
    RunPrices merged = runs.merged();
    ComponentParams params = frame.params.components;
    const double merged_bits = choose_index_classes(merged, request, tables_, pool_, params);
    if (merged_bits < with_map) {
      frame.params.components = std::move(params);
      frame.bits += merged_bits;
      return note_ideal(merged);
    }
    frame.band_of_row = choice.band_of_row;
    frame.band_map = std::move(map);
    frame.bits += 8 * static_cast<double>(frame.band_map.size());
  }
  frame.bits += bits;
  note_ideal(runs);
}

// Where values are rebuilt: at the centroids of the bins, class by class.
void FrameQuantiser::set_offsets(QuantisedFrame& frame) const {
  ComponentParams& params = frame.params.components;
  struct Bin {
    double count = 0;
    double distance = 0;  // of the values from their index toward zero
    std::uint8_t offset() const {
      const double mean = count > 0 ? distance / count : 0;
      return static_cast<std::uint8_t>(std::clamp(std::lround(mean * kStateOne), 0l, long{kMaxOffset}));
    }
  };
  std::array<std::array<Bin, 2>, kOffsetScales + 1> bins{};
  const std::size_t stride = std::max<std::size_t>(1, components_ * rows_ / kOffsetSample);
  std::array<std::array<float, 3>, kMaxBands> counts;
  std::array<std::array<float, 3>, kMaxBands> distances;
  for (std::size_t k = 0; k < components_; k += stride) {
    if (params.scales[k] == 0) continue;
    counts = {};
    distances = {};
    const auto values = exact(k);
    for (std::size_t r = 0; r < rows_; ++r) {
      const std::size_t band = frame.band_of_row.empty() ? 0 : frame.band_of_row[r];
      const int size = std::abs(frame.residuals[k * rows_ + r]);
      const auto bin = static_cast<std::size_t>(std::min(size, 2));
      counts[band][bin] += 1;
      distances[band][bin] += static_cast<float>(size) - std::abs(values[r]);
    }
    for (std::size_t band = 0; band < params.band_scales.size(); ++band) {
      const std::uint8_t scale = params.index_class(k, band).scale;
      if (scale == 0 || scale > kOffsetScales) continue;
      for (std::size_t bin = 0; bin < 2; ++bin) {
        bins[scale][bin].count += static_cast<double>(counts[band][bin + 1]);
        bins[scale][bin].distance += static_cast<double>(distances[band][bin + 1]);
      }
    }
  }
  for (std::size_t scale = 0; scale < bins.size(); ++scale) {
    params.offsets[scale] = {bins[scale][0].offset(), bins[scale][1].offset()};
  }
}

bool FrameQuantiser::set_state(QuantisedFrame& frame) {
  frame.state.components = std::move(workspace_.components);
  frame.state.components.resize(components_ * rows_);
  const RowOffsets offsets(frame.params.components, frame.band_of_row, rows_);
  std::vector<Advanced> advanced(components_);
  pool_.run_in_groups(components_, kQuantisedTogether, [&](std::size_t k, std::size_t) {
    const std::int32_t* of_row = offsets.of(k);
    advanced[k] = vector_loops().advance({.exact = exact(k).data(),
                                          .prediction = prediction(k).data(),
                                          .residuals = frame.residuals.data() + k * rows_,
                                          .ones_offset = of_row,
                                          .more_offset = of_row + rows_,
                                          .count = rows_},
                                         frame.state.components.data() + k * rows_);
  });
  double error = 0;
  std::int32_t largest = 0;
  for (std::size_t k = 0; k < components_; ++k) {
    error += weight_of(k) * static_cast<double>(advanced[k].error);
    largest = std::max(largest, advanced[k].largest);
  }
  frame.error = error * frame.params.step * frame.params.step / static_cast<double>(rows_);
  frame.state.largest = largest;
  return largest <= kMaxState;
}

}  // namespace pinion::codec
