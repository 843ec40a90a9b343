#pragma once
// The encoder's side of low frequencies (docs/format.md §12.8): whether they pay, and how many.

#include "pinion/codec/calibrated/calibrated_quantiser.h"

namespace pinion::codec {

// Takes the low frequencies out of `residual`, [components, rows] in row order, and gives how they are coded;
// nothing if rows alone are expected to need hardly more bits at the same error. The rows are whole pictures
// on `grid` and are to be coded by `plan`, at `step_log2` by `planner`, which knows them as they are now.
// Threads of the pool share the components.
std::optional<QuantisedComponents> take_out_low_frequencies(Matrix& residual, const TokenGrid& grid,
                                                            const RowPlan& plan, const StepPlanner& planner,
                                                            int step_log2, const RecordAt& record,
                                                            IndexTables& tables, ChunkPool& pool);

// About what they take in a frame.
double low_frequency_bits(const QuantisedComponents& coded);

}  // namespace pinion::codec
