#pragma once
// The encoder's side of mode 6: plans a step for residuals, and quantises them at it.

#include "pinion/codec/calibrated/calibrated_format.h"

namespace pinion::codec {

// What the components' deviations make expect at a step. Steps are in log2, kStepsPerOctave to the octave.
class StepPlanner {
 public:
  // `residual` is [components, rows].
  StepPlanner(const Matrix& residual, std::span<const float> gain);

  double error(int step_log2) const;  // output error energy of all components and rows
  double bits(int step_log2) const;   // of all indices

  // The coarsest step whose error is no more, and the finest whose bits are no more.
  int step_for_error(double error_energy) const;
  int step_for_bits(double index_bits) const;

  // A step at which nothing is expected to be said.
  int coarsest() const;

 private:
  std::vector<double> deviations_;  // root mean square of each component
  std::span<const float> gain_;
  double rows_;
};

struct QuantisedComponents {
  CalibratedParams params;            // with step, shapes, scale offset, and whether scales are written
  ComponentParams classes;            // of the components
  std::vector<std::int32_t> indices;  // [components, rows]; 0 where a component has no class
  double error = 0;                   // output error energy of all components and rows, exact
  double bits = 0;                    // of the indices under their tables
  double scale_bits = 0;              // of the scales, if they are written
};

// Quantises residuals [components, rows] at params.step_log2 and chooses the tables. Nothing if an index is
// out of range.
std::optional<QuantisedComponents> quantise_components(const Matrix& residual, const RecordAt& record,
                                                       const CalibratedParams& params, IndexTables& tables);

}  // namespace pinion::codec
