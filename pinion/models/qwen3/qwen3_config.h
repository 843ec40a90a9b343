#pragma once
// The sizes of a Qwen3 language model, from its config.json. Plain data.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "pinion/base/result.h"

namespace pinion::models::qwen3 {

struct Config {
  std::int64_t vocabulary = 0;
  std::int64_t hidden = 0;
  std::int64_t mlp_width = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t key_value_heads = 0;  // divides heads
  std::int64_t head_width = 0;       // even; heads * head_width need not be hidden
  double rope_theta = 0;
  double norm_epsilon = 0;
  bool tied_embeddings = false;  // the output layer is the embedding table
};

// From the object of a config.json whose model_type is "qwen3". kBadFormat for what is missing or senseless,
// kUnsupported for a variant that is not built (sliding windows, scaled rope, biases). Whether the weights
// have these sizes is checked when they are loaded.
Result<Config> parse_config(const nlohmann::json& json);

}  // namespace pinion::models::qwen3
