#pragma once
// Components to integers at one step: prediction, rounding, row bands, table
// classes, the state that results.
//
// A FrameQuantiser borrows its inputs and is used by one thread at a time; threads of a pool share the
// components.

#include <optional>

#include "pinion/codec/fidelity/correlation.h"
#include "pinion/codec/fidelity/step_model.h"

namespace pinion::codec {

// Everything that one step leads to.
struct QuantisedFrame {
  FidelityParams params;
  std::vector<std::uint8_t> band_of_row;  // empty: one band
  Bytes band_map;
  FrameState state;
  std::vector<std::int32_t> residuals;       // [components, rows], rows in their own order
  std::vector<std::int32_t> mean_residuals;  // [channels]
  std::vector<std::uint8_t> coded;           // of each component: whether its residuals are worth coding
  double bits = 0;                           // of the indices, about
  double ideal_bits = 0;                     // see IndexHistograms, means included
  double error = 0;                          // mean squared error of a row, as the components tell it
};

// What a stream's frames share: tables, and memory that the next frame uses again. Used by one frame at a
// time.
struct FidelityWorkspace {
  IndexTables tables;
  std::vector<std::int32_t> predictions;  // [components, rows], in state units
  std::vector<float> exact;               // [components, rows], residuals before rounding, in steps
  std::vector<std::int32_t> residuals;    // of frames that were given up or written
  std::vector<std::int32_t> components;   // of a state that no frame refers to any more
};

struct QuantiserInput {
  const Projection& projection;
  std::span<const double> centre;  // [channels], sent as the means
  std::span<const double> shifts;  // [components], of the centre from the means
  Prediction prediction;
  const ComponentParams& predictors;  // of the components, chosen before
  double mean_error = 0;              // mean squared error of a row that rounding the centre may take
};

class FrameQuantiser {
 public:
  FrameQuantiser(const QuantiserInput& input, FidelityWorkspace& workspace, ChunkPool& pool);

  // What a step does to all rows, before tables are chosen.
  struct Look {
    std::vector<std::uint8_t> coded;  // of each component: whether its residuals are worth coding
    double error = 0;                 // mean squared error of a row, if each component had offsets of its own
  };
  // Nothing if a number leaves its range.
  std::optional<Look> look(double step);

  // Nothing if a number leaves its range. Codes exactly the components that `coded` says, or judges them anew
  // if it is empty. `near` is the result of a similar step, to start from, or null.
  std::optional<QuantisedFrame> quantise(double step, std::span<const std::uint8_t> coded,
                                         const QuantisedFrame* near);

 private:
  bool prepare(double step, QuantisedFrame& frame) const;
  bool set_ratios(FidelityParams& params) const;
  bool quantise_means(QuantisedFrame& frame) const;
  // Fills bins_ too. False if a prediction or a residual leaves its range.
  bool round_components(std::span<const std::uint8_t> coded, QuantisedFrame& frame);
  void measure_rows();
  void choose_classes(const QuantisedFrame* near, QuantisedFrame& frame);
  void set_offsets(QuantisedFrame& frame) const;
  bool set_state(QuantisedFrame& frame);

  std::span<const std::int32_t> prediction(std::size_t k) const {
    return {workspace_.predictions.data() + k * rows_, rows_};
  }
  double weight_of(std::size_t k) const {
    return input_.projection.weights.empty() ? 1 : input_.projection.weights[k];
  }
  std::span<const float> exact(std::size_t k) const { return {workspace_.exact.data() + k * rows_, rows_}; }

  QuantiserInput input_;
  FidelityWorkspace& workspace_;  // predictions and exact residuals are of the last step
  IndexTables& tables_;
  ChunkPool& pool_;
  std::size_t rows_;
  std::size_t components_;
  std::array<std::int64_t, kMaxReferences> largest_reference_{};  // |state|
  std::vector<BinSums> bins_;                                     // of each component, at the last step
  std::vector<float> row_sizes_;                                  // see choose_bands()
};

}  // namespace pinion::codec
