#pragma once
// The encoder's side of mode 6: plans a step from the calibrated statistics, and quantises at it.

#include "pinion/codec/calibrated_format.h"

namespace pinion::codec {

// What the calibration says will happen at a step. Steps are in log2, kStepsPerOctave to the octave.
class StepPlanner {
 public:
  StepPlanner(const RecordAt& record, std::size_t rows) : record_(record), rows_(rows) {}

  double error(int step_log2) const;  // output error energy of all components and rows
  double bits(int step_log2) const;   // of all indices

  // The coarsest step whose error is no more, and the finest whose bits are no more.
  int step_for_error(double error_energy) const;
  int step_for_bits(double index_bits) const;

  // A step at which nothing is expected to be said.
  int coarsest() const;

 private:
  const RecordAt& record_;
  std::size_t rows_;
};

struct QuantisedComponents {
  CalibratedParams params;            // with step, shapes and scale offset
  std::vector<std::int32_t> indices;  // [components, rows]; 0 where a component has no class
  double error = 0;                   // output error energy of all components and rows, exact
  double bits = 0;                    // of the indices under their tables
};

// Quantises residuals [components, rows] at params.step_log2 and chooses the tables. Nothing if an index is
// out of range.
std::optional<QuantisedComponents> quantise_components(const Matrix& residual, const RecordAt& record,
                                                       const CalibratedParams& params, IndexTables& tables);

}  // namespace pinion::codec
