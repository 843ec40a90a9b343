#pragma once
// States as 8-bit pictures through HEVC, as the systems do that split models this way: packing 1 of
// docs/planes.md with hardware padding, each tensor an encode of its own, x265 (preset medium, constant QP)
// in the place of the hardware encoder. Text rows cross as bfloat16, and states come back.

#include "bench/loop/state_coder.h"

namespace pinion::bench {

// kUnsupported where x265 or libde265 were not there at build time.
Result<std::unique_ptr<StateCoder>> make_planes_coder(int qp);

}  // namespace pinion::bench
