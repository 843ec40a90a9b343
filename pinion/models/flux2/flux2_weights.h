#pragma once
// The weights of a stage on its device: exactly those that its blocks, its modulations and its ends need.
// Immutable once loaded.

#include <memory>
#include <vector>

#include "pinion/models/checkpoint.h"
#include "pinion/models/flux2/flux2_blocks.h"
#include "pinion/models/flux2/flux2_spec.h"
#include "pinion/models/stage.h"

namespace pinion::models::flux2 {

struct StageWeights {
  std::size_t bytes = 0;  // on the device

  // Defined if the stage embeds.
  at::Tensor image_in, text_in;

  MlpWeights time;
  MlpWeights guidance;                            // defined if the model takes guidance
  at::Tensor image_modulation, text_modulation;   // defined if the stage has double blocks
  at::Tensor single_modulation;                   // defined if it has single blocks
  std::vector<DoubleBlockWeights> double_blocks;  // of the stage, in order
  std::vector<SingleBlockWeights> single_blocks;

  // Defined if the stage finishes.
  at::Tensor final_modulation, final_linear;
};

Result<std::shared_ptr<const StageWeights>> load_stage_weights(const Checkpoint& checkpoint, const Spec& spec,
                                                               BlockRange range, const StageOptions& options);

}  // namespace pinion::models::flux2
