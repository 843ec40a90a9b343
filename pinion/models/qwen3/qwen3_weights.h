#pragma once
// Finds and loads the weights of a Qwen3 model under any of the prefixes that files use.

#include <vector>

#include "pinion/models/qwen3/qwen3_model.h"

namespace pinion::models::qwen3 {

struct PartWeights {
  at::Tensor embeddings;
  std::vector<LayerWeights> layers;
  at::Tensor final_norm, output;
};

// Reads only what `part` needs; every shape is checked against the config first.
Result<PartWeights> load_part(const Weights& weights, const Config& config, Part part,
                              const StageOptions& options);

}  // namespace pinion::models::qwen3
