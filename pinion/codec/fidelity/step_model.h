#pragma once
// The error that a quantiser step leads to, from some of the rows: what the encoder searches the step with.
// Pure functions of a sample; threads of a pool share the components.

#include "pinion/codec/fidelity/correlation.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {

// False if residuals that fall into these bins cost more bits than the error they remove is worth. `count` is
// how many values there were, `weight` what a squared error of theirs counts.
bool worth_coding(const BinSums& bins, std::size_t count, double weight);

// Sum of squared errors of values that fall into these bins and are rebuilt at the bins' centroids.
double error_at_centroids(const BinSums& bins);

class StepModel {
 public:
  // `weights` is of the projection; `predictors` has those of the components.
  StepModel(const ComponentSample& sample, std::span<const double> weights, const ComponentParams& predictors,
            ChunkPool& pool);

  // What lies at the centre of each component's residuals: better sent with the means than with every row.
  const std::vector<double>& shifts() const { return shifts_; }

  // From now on exactly these components are coded, whatever the step; all are judged anew if `coded` is
  // empty.
  void decide(std::span<const std::uint8_t> coded) { coded_.assign(coded.begin(), coded.end()); }

  // Mean squared error of a row, over all components.
  double error(double step) const;

  // The step at which error() is `target`, near `start`.
  double step_for(double target, double start) const;

 private:
  ChunkPool& pool_;
  Matrix residuals_;  // [components, sampled rows], without the shifts
  std::vector<double> shifts_;
  std::vector<double> weights_;
  std::vector<std::uint8_t> coded_;
  double predicted_ = 0;  // weights of the components that are predicted, together
};

}  // namespace pinion::codec
