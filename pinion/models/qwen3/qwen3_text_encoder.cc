#include "pinion/models/qwen3/qwen3_text_encoder.h"

#include <algorithm>
#include <array>

#include "pinion/models/json_file.h"
#include "pinion/models/qwen3/qwen3_model.h"
#include "pinion/models/qwen3/qwen3_prompt.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::qwen3 {
namespace {

constexpr std::array<std::int64_t, 3> kTaps = {9, 18, 27};
constexpr std::int64_t kTextTokens = 512;

class Encoder final : public TextEncoder {
 public:
  Encoder(Tokenizer tokenizer, Padding tokens, Model model, TextPadding padding)
      : tokenizer_(std::move(tokenizer)),
        padding_token_(tokens),
        model_(std::move(model)),
        padding_(padding) {}

  std::int64_t channels() const override {
    return static_cast<std::int64_t>(kTaps.size()) * model_.config().hidden;
  }

  Result<Tensor> encode(const std::vector<std::string>& prompts) override {
    return caught([&]() -> Result<Tensor> {
      const c10::InferenceMode inference;
      std::vector<at::Tensor> embeddings;
      for (const std::string& prompt : prompts) {
        PINION_TRY(const auto tokens, prompt_tokens(tokenizer_, prompt, kTextTokens));
        PINION_TRY(at::Tensor embedding,
                   padding_ == TextPadding::kThroughEncoder ? encode_padded(tokens) : encode_bare(tokens));
        embeddings.push_back(embedding.cpu());
      }
      if (embeddings.empty()) return Error{Errc::kInvalidArgument, "there is no prompt to encode", ""};
      return from_torch(at::cat(embeddings, 0));
    });
  }

 private:
  Result<at::Tensor> encode_padded(const std::vector<TokenId>& tokens) const {
    const auto count = static_cast<std::int64_t>(tokens.size());
    at::Tensor ids = at::full({1, kTextTokens}, padding_token_.token, at::kLong);
    at::Tensor mask = at::zeros({1, kTextTokens}, at::kBool);
    const std::int64_t begin = padding_token_.on_the_left ? kTextTokens - count : 0;
    ids.narrow(1, begin, count).copy_(as_ids(tokens));
    mask.narrow(1, begin, count).fill_(true);
    return taps(ids, mask);
  }

  Result<at::Tensor> encode_bare(const std::vector<TokenId>& tokens) const {
    const at::Tensor ids = as_ids(tokens);
    PINION_TRY(const at::Tensor states, taps(ids, at::ones_like(ids, at::kBool)));
    return at::constant_pad_nd(states, {0, 0, kTextTokens - states.size(1), 0});
  }

  static at::Tensor as_ids(const std::vector<TokenId>& tokens) {
    at::Tensor ids = at::empty({1, static_cast<std::int64_t>(tokens.size())}, at::kLong);
    std::copy(tokens.begin(), tokens.end(), ids.mutable_data_ptr<std::int64_t>());
    return ids;
  }

  // [1, S, channels]: of every token the tapped states side by side, the earliest layer first.
  Result<at::Tensor> taps(const at::Tensor& ids, const at::Tensor& mask) const {
    std::vector<at::Tensor> states;
    const auto keep = [&](std::int64_t index, const at::Tensor& state) {
      if (std::find(kTaps.begin(), kTaps.end(), index) != kTaps.end()) states.push_back(state);
    };
    PINION_TRY(at::Tensor last, model_.run(ids, mask, keep));
    return at::cat(states, -1);
  }

  Tokenizer tokenizer_;
  Padding padding_token_;
  Model model_;
  TextPadding padding_;
};

}  // namespace

Result<std::unique_ptr<TextEncoder>> open_encoder(const EncoderSource& source, const StageOptions& options,
                                                  TextPadding padding) {
  PINION_TRY(const nlohmann::json json, read_json_object(source.weights_folder / "config.json"));
  auto config = parse_config(json);
  if (!config.ok()) return std::move(config).error().in(source.weights_folder.string());
  // The state after the last layer would need the final norm: no model in use taps there.
  if (config->layers <= kTaps.back()) {
    return Error{Errc::kUnsupported,
                 source.weights_folder.string() + ": a text encoder of " + std::to_string(config->layers) +
                     " layers, FLUX.2 taps layer " + std::to_string(kTaps.back()),
                 "use the text encoder that belongs to the model"};
  }
  PINION_TRY(Tokenizer tokenizer, Tokenizer::open(source.tokenizer_folder / "tokenizer.json"));
  PINION_TRY(const Padding tokens, read_padding(source.tokenizer_folder, tokenizer));
  PINION_TRY(const Weights weights, Weights::open(source.weights_folder));
  PINION_TRY(Model model, Model::load(weights, *config, {.layers = kTaps.back(), .head = false}, options));
  return std::unique_ptr<TextEncoder>(
      std::make_unique<Encoder>(std::move(tokenizer), tokens, std::move(model), padding));
}

}  // namespace pinion::models::qwen3
