#pragma once
// Components to integers at one step: prediction, rounding, table classes, the state that results.
//
// A FrameQuantiser borrows its inputs and is used by one thread at a time.

#include <optional>

#include "pinion/codec/basis_fit.h"
#include "pinion/codec/fidelity_format.h"

namespace pinion::codec {

// What a frame may predict from; `previous` is null in key frames.
struct Prediction {
  const StreamState* previous = nullptr;
  double previous_step = 0;
};

// How a component relates to its state one frame before, as mean squares.
struct Correlation {
  double own = 0;
  double cross = 0;
  double previous = 0;

  // What a multiple of the previous state leaves.
  double left_after(double coefficient) const;
  double best_coefficient() const { return previous > 0 ? cross / previous : 0; }
};

std::vector<Correlation> correlate(const Projection& projection, const Prediction& prediction);

// What prediction leaves of each component at best: mean squares.
std::vector<double> predicted_variances(const Projection& projection, const Prediction& prediction);

// Everything that one step leads to.
struct QuantisedFrame {
  FidelityParams params;
  StreamState state;                         // means and components only
  std::vector<std::int32_t> residuals;       // [components, rows]
  std::vector<std::int32_t> mean_residuals;  // [channels]
  double bits = 0;                           // of the indices
  double error = 0;  // mean squared error of a row in the component domain, with what lies outside the basis
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

  // Nothing if an index leaves its range.
  std::optional<QuantisedFrame> quantise(double step) const;

  std::span<const Correlation> correlations() const { return correlations_; }

 private:
  bool quantise_means(QuantisedFrame& frame) const;
  bool quantise_components(QuantisedFrame& frame) const;
  bool set_states(QuantisedFrame& frame, std::span<const float> exact) const;

  QuantiserInput input_;
  IndexTables& tables_;
  std::size_t rows_;
  std::size_t components_;
  std::vector<Correlation> correlations_;
};

}  // namespace pinion::codec
