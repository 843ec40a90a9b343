#pragma once
// The encoder's choice of predictors: a few pairs of coefficients that all
// components share. Pure function.

#include "pinion/codec/fidelity/correlation.h"

namespace pinion::codec {

// Fills predictors and predictor_of for components of these correlations, at
// that step.
void choose_predictors(std::span<const Correlation> correlations, double step, std::size_t rows,
                       ComponentParams& params);

}  // namespace pinion::codec
