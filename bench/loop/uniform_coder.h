#pragma once
// Every channel quantised uniformly between its least and greatest value, then zstd: what one does without
// knowing the model. The velocity returns as float16.

#include "bench/loop/state_coder.h"

namespace pinion::bench {

// `bits` of a symbol before zstd, 1 to 16 (kInvalidArgument).
Result<std::unique_ptr<StateCoder>> make_uniform_coder(int bits);

}  // namespace pinion::bench
