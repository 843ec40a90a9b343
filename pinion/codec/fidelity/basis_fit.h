#pragma once
// A basis as the encoder uses it: rows of channels to components by least
// squares, because quantised directions are not quite orthogonal. Immutable
// after it is made.

#include <memory>

#include "pinion/codec/fidelity/basis.h"

namespace pinion::codec {

struct BasisFit {
  std::shared_ptr<const Basis> basis;
  Bytes asset;                  // as it is sent
  std::vector<double> weights;  // squared lengths of the directions: of the components' errors in channels
  Matrix analysis;              // [channels, components]: component values of a row x are x
                                // * analysis
};

// kBadFormat if the asset is broken or its directions depend on each other.
Result<std::shared_ptr<const BasisFit>> fit_basis(Bytes asset);

struct Projection {
  std::shared_ptr<const Matrix> components;  // [components, rows]
  std::vector<double> weights;  // what a component's squared error is in channels; empty: the same
  double outside = 0;           // mean squared length of what the rows keep outside the span
};

// `centred_transposed` is [channels, rows].
Projection project(const BasisFit& fit, const Matrix& centred_transposed);

}  // namespace pinion::codec
