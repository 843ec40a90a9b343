#pragma once
// Which blocks run where: the `--cut` and `--worker` of the command line as block ranges. Pure functions.

#include <string_view>
#include <vector>

#include "pinion/base/result.h"
#include "pinion/models/stage.h"

namespace pinion::pipeline {

// Blocks of the client and of each worker in chain order. An empty range at the client means that it holds
// no block at all; without workers the client's range is the whole model.
struct Placement {
  models::BlockRange local;
  std::vector<models::BlockRange> remote;
  bool is_local() const { return remote.empty(); }
};

// `cut`: "all" (everything local), "auto", or one block index per worker in rising order ("2,5" with two
// workers: client 0-1, first worker 2-4, second worker 5-end). "auto" without workers is "all"; with workers
// it gives every block to them in equal shares, because then only latents and velocities cross the first
// link.
Result<Placement> place(std::string_view cut, int block_count, int worker_count);

}  // namespace pinion::pipeline
