#include "pinion/models/qwen3/qwen3_config.h"

#include <cmath>
#include <string>

#include "pinion/models/json_file.h"

namespace pinion::models::qwen3 {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMaxSize = 1 << 24;  // of any width or count
// What transformers takes when the file is silent; the published models all say theirs.
constexpr double kDefaultTheta = 1e4;
constexpr double kDefaultEpsilon = 1e-6;

Error bad(const std::string& text) {
  return Error{Errc::kBadFormat, "config.json: " + text, "the file is damaged or is another model's"};
}

Error unsupported(const std::string& text) {
  return Error{Errc::kUnsupported, "config.json: " + text, "use one of the published Qwen3 text encoders"};
}

Result<std::int64_t> size_of(const Json& json, const char* key) {
  const Json* value = json_member(json, key);
  const std::int64_t size = value != nullptr && value->is_number_integer() ? value->get<std::int64_t>() : 0;
  if (size < 1 || size > kMaxSize) {
    return bad(std::string("'") + key + "' is not a number from 1 to " + std::to_string(kMaxSize));
  }
  return size;
}

Result<double> positive(const Json& json, const char* key, double fallback) {
  const Json* value = json_member(json, key);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !(value->get<double>() > 0) || !std::isfinite(value->get<double>())) {
    return bad(std::string("'") + key + "' is not a positive number");
  }
  return value->get<double>();
}

bool is_true(const Json& json, const char* key) {
  const Json* value = json_member(json, key);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

// transformers 4 writes rope_theta and rope_scaling, transformers 5 one object rope_parameters.
Result<double> parse_rope(const Json& json) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Json* rope = json_member(json, key);
    if (rope == nullptr) continue;
    if (!rope->is_object()) return bad(std::string("'") + key + "' is not an object");
    for (const char* type_key : {"rope_type", "type"}) {
      const std::string type = json_text(*rope, type_key);
      if (!type.empty() && type != "default") return unsupported("its rope is of type '" + type + "'");
    }
    if (json_member(*rope, "rope_theta") != nullptr) return positive(*rope, "rope_theta", kDefaultTheta);
  }
  return positive(json, "rope_theta", kDefaultTheta);
}

Result<void> check_variant(const Json& json) {
  const std::string type = json_text(json, "model_type");
  if (type != "qwen3") return unsupported("its model_type is '" + type + "', not 'qwen3'");
  const std::string activation = json_text(json, "hidden_act");
  if (!activation.empty() && activation != "silu")
    return unsupported("its hidden_act is '" + activation + "'");
  if (is_true(json, "attention_bias")) return unsupported("its attention has biases");
  if (is_true(json, "use_sliding_window")) return unsupported("it uses a sliding window");
  return {};
}

}  // namespace

Result<Config> parse_config(const Json& json) {
  PINION_TRY_VOID(check_variant(json));
  Config config;
  PINION_TRY(config.vocabulary, size_of(json, "vocab_size"));
  PINION_TRY(config.hidden, size_of(json, "hidden_size"));
  PINION_TRY(config.mlp_width, size_of(json, "intermediate_size"));
  PINION_TRY(config.layers, size_of(json, "num_hidden_layers"));
  PINION_TRY(config.heads, size_of(json, "num_attention_heads"));
  PINION_TRY(config.key_value_heads, size_of(json, "num_key_value_heads"));
  PINION_TRY(config.head_width, size_of(json, "head_dim"));
  PINION_TRY(config.rope_theta, parse_rope(json));
  PINION_TRY(config.norm_epsilon, positive(json, "rms_norm_eps", kDefaultEpsilon));
  config.tied_embeddings = is_true(json, "tie_word_embeddings");
  if (config.heads % config.key_value_heads != 0)
    return bad("the heads do not divide among the key/value heads");
  if (config.head_width % 2 != 0) return bad("'head_dim' is odd");
  return config;
}

}  // namespace pinion::models::qwen3
