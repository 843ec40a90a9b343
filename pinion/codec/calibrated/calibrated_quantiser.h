#pragma once
// The encoder's side of mode 6: plans a step for residuals, and quantises them at it.

#include "pinion/codec/calibrated/row_plan.h"

namespace pinion::codec {

// Output error energy that components may make for a target in dB: what `floor`, which no component can mend,
// leaves of it. Where even exact components would miss the target, a tenth of the floor: more bits would
// change the output by less than half a decibel.
double allowed_component_error(double output_snr_db, double signal, double floor);

// What the components' deviations make expect at a step. Steps are those of the first band, in log2,
// kStepsPerOctave to the octave.
class StepPlanner {
 public:
  // `residual` is [components, rows], the rows in coded order.
  StepPlanner(const Matrix& residual, std::span<const float> gain, const RowPlan& plan);

  double error(int step_log2) const;  // output error energy of all components and rows
  double bits(int step_log2) const;   // of all indices

  // The coarsest step whose error is no more, and the finest whose bits are no more.
  int step_for_error(double error_energy) const;
  int step_for_bits(double index_bits) const;

  // As it would be if components had so many times their energy, [components].
  StepPlanner with_energies(std::span<const double> times) const;

  // A step at which nothing is expected to be said.
  int coarsest() const;

 private:
  // A component in a band.
  struct Part {
    std::size_t component;
    double deviation;  // root mean square
    double rows;
    double cost;  // output error energy per mean squared error
    int step_offset;
  };
  std::vector<Part> parts_;
};

struct QuantisedComponents {
  CalibratedParams params;            // with step, shapes, scale offset, and whether scales are written
  ComponentParams classes;            // of the components
  std::vector<std::int32_t> indices;  // [components, rows in coded order]; 0 where there is no class
  double error = 0;                   // output error energy of all components and rows, exact
  double bits = 0;                    // of the indices under their tables
  double ideal_bits = 0;              // and under histograms of their own: see IndexHistograms
  double scale_bits = 0;              // of the scales, if they are written
};

// Quantises residuals [components, rows in coded order] at params.step_log2, in the bands of `plan`, and
// chooses the tables. False if an index is out of range. Memory of `result` is used again; threads of the
// pool share the components.
bool quantise_components(const Matrix& residual, const RecordAt& record, const RowPlan& plan,
                         const CalibratedParams& params, IndexTables& tables, ChunkPool& pool,
                         QuantisedComponents& result);

}  // namespace pinion::codec
