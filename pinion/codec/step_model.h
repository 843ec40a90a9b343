#pragma once
// The error that a quantiser step leads to, from some of the rows: what the encoder searches the step with.
// Pure functions of a sample.

#include "pinion/codec/correlation.h"
#include "pinion/codec/vector_loops.h"

namespace pinion::codec {

// False if residuals that fall into these bins cost more bits than the error they remove is worth. `count` is
// how many values there were.
bool worth_coding(const BinSums& bins, std::size_t count);

class StepModel {
 public:
  // `predictors` has those of the components.
  StepModel(const ComponentSample& sample, const ComponentParams& predictors);

  // What lies at the centre of each component's residuals: better sent with the means than with every row.
  const std::vector<double>& shifts() const { return shifts_; }

  // Mean squared error of a row, over all components.
  double error(double step) const;

  // The step at which error() is `target`, near `start`.
  double step_for(double target, double start) const;

 private:
  Matrix residuals_;  // [components, sampled rows], without the shifts
  std::vector<double> shifts_;
};

}  // namespace pinion::codec
