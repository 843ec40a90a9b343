#pragma once
// Principal components of the states that jobs make, for pca_coder.h. One object is used by one thread at a
// time.

#include "bench/loop/lock_step.h"
#include "bench/loop/pca_coder.h"

namespace pinion::bench {

// Runs `jobs` on `lock_step` uncoded and learns the state tensors of all cuts over all their evaluations.
Result<PcaBases> learn_pca(LockStep& lock_step, const std::vector<int>& cuts, std::vector<LoopJob> jobs);

}  // namespace pinion::bench
