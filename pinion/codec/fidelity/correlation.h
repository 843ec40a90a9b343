#pragma once
// How the components of a frame relate to those of the frames before: what the
// encoder predicts from. Pure functions.

#include <array>
#include <vector>

#include "pinion/codec/chunk_pool.h"
#include "pinion/codec/fidelity/basis_fit.h"
#include "pinion/codec/fidelity/fidelity_format.h"

namespace pinion::codec {

// What a frame may predict from; `previous` is null in key frames.
struct Prediction {
  const StreamState* previous = nullptr;
  std::array<double, kMaxReferences> steps{};  // of the references, newest first

  std::size_t references() const { return previous == nullptr ? 0 : previous->older.empty() ? 1 : 2; }
};

using Coefficients = std::array<double, kMaxReferences>;

// Mean products over the rows of one component and its references.
struct Correlation {
  double own = 0;
  std::array<double, kMaxReferences> cross{};
  std::array<double, kMaxReferences> square{};  // of each reference
  double between = 0;                           // of the two references

  double left_after(const Coefficients& c) const;
  // The second coefficient is 0 if there is no second reference.
  Coefficients best() const;
  // The best first coefficient for a given second.
  double best_first(double second) const;
};

// Rows whose residuals are of about one size.
struct RowGroup {
  double share = 1;  // of all rows
  double size = 1;   // mean squared length over that of all rows
};

// Many rows of all components, spread evenly, and what they say of the others: enough to plan a frame by.
struct ComponentSample {
  Matrix values;                              // [components, sampled rows]
  std::array<Matrix, kMaxReferences> before;  // the references in the same units, zeros past their end; empty
                                              // if there are none
  std::array<std::vector<double>, kMaxReferences> before_means;  // [components], over all rows
  std::vector<Correlation> correlations;                         // of each component, about its means
  std::vector<float> row_weights;    // by which residuals are centred, sum 1; empty: rows are much alike
  std::vector<RowGroup> row_groups;  // at least one
};

// Threads of the pool share the components.
ComponentSample sample_components(const Projection& projection, const Prediction& prediction,
                                  ChunkPool& pool);

// What prediction leaves of each component at best: mean squares.
std::vector<double> predicted_variances(const ComponentSample& sample);

// The nearest writable coefficient of the first reference.
std::uint8_t nearest_coefficient(double value);

}  // namespace pinion::codec
