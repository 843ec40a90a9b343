#include "pinion/models/forward_text_vae.h"
#include "pinion/models/json_file.h"
#include "pinion/models/qwen3/qwen3_model.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models {
namespace {

namespace fs = std::filesystem;

fs::path encoder_folder(const fs::path& path) {
  std::error_code ignored;
  const fs::path inner = path / "text_encoder";
  return fs::is_directory(inner, ignored) ? inner : path;
}

// [B, S] of any integer type, as I64 on the CPU.
Result<at::Tensor> read_integers(const Tensor& tensor, const std::string& name) {
  if (is_float(tensor.dtype()) || tensor.shape().rank() != 2) {
    return Error{Errc::kInvalidArgument,
                 name + " must be integers [batch, tokens], not " +
                     std::string(pinion::name(tensor.dtype())) + " " + to_string(tensor.shape()),
                 ""};
  }
  PINION_TRY(const Tensor on_cpu, to_cpu(tensor));
  return caught([&]() -> Result<at::Tensor> { return to_torch(on_cpu).to(at::kLong); });
}

struct TextInputs {
  at::Tensor ids, mask;
};

Result<TextInputs> read_text_inputs(const TensorList& inputs) {
  const Tensor* ids = find(inputs, "input_ids");
  if (ids == nullptr)
    return Error{Errc::kInvalidArgument, "the inputs lack input_ids", "give input_ids [batch, tokens]"};
  TextInputs read;
  PINION_TRY(read.ids, read_integers(*ids, "input_ids"));
  const Tensor* mask = find(inputs, "attention_mask");
  if (mask == nullptr) {
    read.mask = at::ones_like(read.ids, at::kBool);
    return read;
  }
  PINION_TRY(const at::Tensor numbers, read_integers(*mask, "attention_mask"));
  if (numbers.sizes() != read.ids.sizes()) {
    return Error{
        Errc::kInvalidArgument,
        "attention_mask " + to_string(mask->shape()) + " does not fit input_ids " + to_string(ids->shape()),
        ""};
  }
  read.mask = numbers.ne(0);
  return read;
}

}  // namespace

Result<TensorList> forward_qwen3(const fs::path& path, const TensorList& inputs,
                                 const ForwardOptions& options) {
  const fs::path folder = encoder_folder(path);
  PINION_TRY(const nlohmann::json json, read_json_object(folder / "config.json"));
  auto config = qwen3::parse_config(json);
  if (!config.ok()) return std::move(config).error().in(folder.string());
  PINION_TRY(const TextInputs text, read_text_inputs(inputs));
  PINION_TRY(const Weights weights, Weights::open(folder));
  PINION_TRY(const qwen3::Model model,
             qwen3::Model::load(weights, *config, {.layers = config->layers, .head = true}, options.stage));
  return caught([&]() -> Result<TensorList> {
    const c10::InferenceMode inference;
    TensorList outputs;
    const auto output = [&](const std::string& name, const at::Tensor& tensor) {
      outputs.push_back({name, from_torch(tensor.to(at::kFloat).cpu())});
    };
    const auto keep = [&](std::int64_t index, const at::Tensor& state) {
      // transformers' last hidden state is the normed one.
      if (options.hidden && index < config->layers) output("hidden." + std::to_string(index), state);
    };
    PINION_TRY(const at::Tensor last, model.run(text.ids, text.mask, keep));
    const at::Tensor normed = model.normed(last);
    if (options.hidden) output("hidden." + std::to_string(config->layers), normed);
    output("logits", model.logits(normed));
    return outputs;
  });
}

}  // namespace pinion::models
