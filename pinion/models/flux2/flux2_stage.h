#pragma once
// A run of FLUX.2 blocks and the jobs on it, behind the family-independent border of models/stage.h.

#include <memory>

#include "pinion/models/flux2/flux2_weights.h"

namespace pinion::models::flux2 {

// What a stage is apart from its weights.
struct StageSetup {
  Spec spec;
  BlockRange range;
  StageOptions options;

  bool embeds() const { return range.begin == 0; }
  bool finishes() const { return range.end == spec.blocks(); }
};

std::unique_ptr<Stage> make_stage(const StageSetup& setup, std::shared_ptr<const StageWeights> weights);

}  // namespace pinion::models::flux2
