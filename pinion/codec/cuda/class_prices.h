#pragma once
// What kernels choose table classes (docs/format.md §6.2) by: what an index of each size takes in each class,
// and the classes as they have them. Pure functions.

#include <cstdint>
#include <vector>

#include "pinion/codec/cuda/index_coding_jobs.h"
#include "pinion/codec/indices/index_tables.h"

namespace pinion::codec::cuda {

// [shapes, scales, kMagnitudeBins]: bits of an index; scales beyond a shape's cost what its largest does.
std::vector<float> class_costs(IndexTables& tables);

// [shapes, scales]: code_of_class(), kNoIndexClass where there is none.
std::vector<std::uint16_t> class_codes();

}  // namespace pinion::codec::cuda
