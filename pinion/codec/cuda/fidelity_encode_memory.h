#pragma once
// The workspace of an encoder of mode 2. Pure function.

#include "pinion/codec/cuda/cuda_memory.h"
#include "pinion/codec/cuda/fidelity_encode_jobs.h"

namespace pinion::codec::cuda {

// Gives the job, whose sizes are set, its parts of the memory. Returns how much from `outcome` on has to be 0
// when a frame begins.
std::size_t place_fidelity_job(Parts& parts, FidelityEncodeJob& job);

}  // namespace pinion::codec::cuda
