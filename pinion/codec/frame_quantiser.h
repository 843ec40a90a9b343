#pragma once
// Components to integers at one step: prediction, rounding, row bands, table
// classes, the state that results.
//
// A FrameQuantiser borrows its inputs and is used by one thread at a time.

#include <optional>

#include "pinion/codec/correlation.h"

namespace pinion::codec {

// Everything that one step leads to.
struct QuantisedFrame {
  FidelityParams params;
  RowBands bands{0};
  Bytes band_map;
  FrameState state;
  std::vector<std::int32_t> residuals;       // [components, rows in coded order]
  std::vector<std::int32_t> mean_residuals;  // [channels]
  double bits = 0;                           // of the indices, about
  double error = 0;                          // mean squared error of a row in the component domain, with
                                             // what lies outside the basis
};

struct QuantiserInput {
  const Projection& projection;
  std::span<const double> means;  // [channels]
  Prediction prediction;
  double mean_error = 0;  // mean squared error of a row that rounding the means may take
};

class FrameQuantiser {
 public:
  FrameQuantiser(const QuantiserInput& input, IndexTables& tables);

  // Nothing if a number leaves its range. `near` is the result of a similar
  // step, to start from, or null.
  std::optional<QuantisedFrame> quantise(double step, const QuantisedFrame* near) const;

 private:
  bool set_ratios(FidelityParams& params) const;
  bool quantise_means(QuantisedFrame& frame) const;
  // Residuals by row: before rounding, and rounded (all 0 where a component is
  // not worth coding).
  bool round_components(const FidelityParams& params, std::vector<float>& exact,
                        std::vector<std::int32_t>& rounded) const;
  // Bands, classes and coded order for the rounded residuals.
  void choose_classes(std::span<const float> exact, std::span<const std::int32_t> rounded,
                      const QuantisedFrame* near, QuantisedFrame& frame) const;
  void set_offsets(std::span<const float> exact, QuantisedFrame& frame) const;
  bool set_state(QuantisedFrame& frame) const;

  QuantiserInput input_;
  IndexTables& tables_;
  std::size_t rows_;
  std::size_t components_;
  std::vector<Correlation> correlations_;
};

}  // namespace pinion::codec
