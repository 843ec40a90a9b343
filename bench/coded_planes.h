#pragma once
// The coder that codec_vs_planes compares with: states as 8-bit pictures (docs/planes.md, packing 1) through
// x265 and back through a decoder.

#include <span>
#include <vector>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/planes/range_packing.h"

namespace pinion::bench {

struct PlaneStep {
  std::size_t bytes = 0;  // this step's access units and side information
  Tensor decoded;         // float32
};

// Codes the steps ([tokens, channels] each) as one video of constant `qp`, the same for all pictures, with
// the thorough effort and without the picture checksums that others do not send. `threads` do not change it.
Result<std::vector<PlaneStep>> code_as_planes(std::span<const Tensor> steps,
                                              const codec::RangePacking& packing, int qp, int threads);

}  // namespace pinion::bench
