#pragma once
// What quantising costs and loses, estimated from variances alone: the
// encoder's basis for choosing the step, the number of components and whether a
// basis pays. Pure functions.

#include "pinion/codec/fidelity/correlation.h"

namespace pinion::codec {

// Bits per value and mean squared error (in squared steps) of a component whose
// variance is `variance` squared steps, quantised to nearest; 0 bits and its
// variance if it is better left out.
double model_bits(double variance);
double model_error(double variance);

struct RatePlan {
  double step = 0;  // 0: the target cannot be met
  double bits = 0;  // of all rows
};

struct RateProblem {
  std::span<const double> variances;  // per component, mean square over the rows
  std::span<const RowGroup> groups;   // of the rows: each has its own share of every variance
  double outside = 0;                 // mean squared length of what no component reaches
  double target = 0;                  // mean squared error of a row that is allowed
  std::size_t rows = 0;
};

// The common step at which the error meets the target (reverse water-filling),
// and its bits.
RatePlan plan_rate(const RateProblem& problem);

// How many of the leading components a new basis should have, counting its own
// bytes over the frames that will use it.
struct BasisPlan {
  std::size_t components = 0;
  RatePlan rate;
  double basis_bits = 0;
};
struct BasisProblem {
  std::span<const double> variances;  // largest first
  std::span<const RowGroup> groups;
  double total_variance = 0;
  double target = 0;
  std::size_t rows = 0;
  std::size_t channels = 0;
  double frames = 1;  // like this one that are expected to share the basis
};
BasisPlan plan_basis(const BasisProblem& problem);

// The same for a given number of components; 0 components if the target cannot be met with them.
BasisPlan plan_basis_of(const BasisProblem& problem, std::size_t components);

// The rounding that a basis row tolerates, for a component of that variance at
// that step.
double basis_step(double variance, double step, std::size_t channels);

}  // namespace pinion::codec
