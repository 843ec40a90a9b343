#pragma once
// What a uniform quantiser of step 1 that rounds to nearest does to a Laplace variable: the model by which a
// step is planned before anything is quantised. Pure functions.

namespace pinion::codec {

// Mean squared error for a variable of this standard deviation; never more than its variance.
double laplace_error(double deviation);

// Entropy of its indices in bits.
double laplace_bits(double deviation);

}  // namespace pinion::codec
