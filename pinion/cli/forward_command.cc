// pinion forward: one model evaluation on given tensors, for comparing with another implementation.

#include <memory>

#include "pinion/base/safetensors.h"
#include "pinion/cli/command.h"
#include "pinion/cli/forward_diffusion.h"
#include "pinion/cli/split_flags.h"
#include "pinion/models/forward_text_vae.h"

namespace pinion::cli {
namespace {

struct Options {
  std::filesystem::path model, inputs, out;
  std::string dtype = "fp32", device = "cpu";
  bool hidden = false;
  SplitFlags split;
};

Error wrong(std::string text) {
  return Error{Errc::kInvalidArgument, std::move(text), "see pinion forward --help"};
}

Result<TensorList> read_tensors(const std::filesystem::path& path) {
  PINION_TRY(const SafetensorsFile file, SafetensorsFile::open(path));
  TensorList tensors;
  for (const SafetensorsEntry& entry : file.header().entries)
    tensors.push_back({entry.name, file.tensor(entry)});
  return tensors;
}

// The inputs' names say which of a folder's models is meant.
Result<TensorList> evaluate(const std::filesystem::path& model, const TensorList& inputs,
                            const models::ForwardOptions& options, const pipeline::SplitOptions& split) {
  if (find(inputs, "hidden_states") != nullptr) {
    return forward_diffusion({.model = model,
                              .arguments = inputs,
                              .stage = options.stage,
                              .hidden = options.hidden,
                              .split = split});
  }
  if (find(inputs, "input_ids") != nullptr) return models::forward_qwen3(model, inputs, options);
  if (find(inputs, "sample") != nullptr || find(inputs, "latent") != nullptr) {
    return models::forward_vae(model, inputs, options);
  }
  return wrong(
      "--inputs has none of hidden_states (diffusion model), input_ids (text encoder), sample, latent (VAE)");
}

Result<void> forward(const Options& options) {
  models::ForwardOptions forward_options{.stage = {}, .hidden = options.hidden};
  const auto device = device_from_name(options.device);
  if (!device) return wrong("--device '" + options.device + "' is neither cpu nor cuda:N");
  const auto dtype = dtype_from_user(options.dtype);
  if (!dtype) return wrong("--dtype '" + options.dtype + "' is not one of fp32, bf16, fp16");
  forward_options.stage = {.device = *device, .dtype = *dtype};
  PINION_TRY(const pipeline::SplitOptions split, options.split.parse());
  PINION_TRY(const TensorList inputs, read_tensors(options.inputs));
  PINION_TRY(const TensorList outputs, evaluate(options.model, inputs, forward_options, split));
  return write_safetensors(options.out, outputs);
}

}  // namespace

void add_forward_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("forward", "One model evaluation on given tensors, for parity tests");
  command->footer(
      "Inputs are named as the arguments of the reference implementation's forward:\n"
      "  diffusion model  hidden_states, encoder_hidden_states, timestep, img_ids, txt_ids and, if it takes "
      "it, guidance\n"
      "  text encoder     input_ids, attention_mask\n"
      "  VAE              sample (pictures, to encode) or latent (to decode)");
  command->add_option("--model", options->model, "Model: a diffusers folder or a single file")
      ->required()
      ->envname("PINION_MODEL");
  command->add_option("--inputs", options->inputs, "safetensors file with the inputs")->required();
  command->add_option("--out", options->out, "safetensors file for sample or logits, float32")->required();
  command->add_flag("--hidden", options->hidden, "Also write the state that enters every block");
  command->add_option("--dtype", options->dtype, "Compute dtype: fp32, bf16 or fp16")->capture_default_str();
  command->add_option("--device", options->device, "cpu or cuda:N")
      ->envname("PINION_DEVICE")
      ->capture_default_str();
  options->split.add_to(*command);
  command->callback([options, &action] {
    action = [options] {
      const auto done = forward(*options);
      return done.ok() ? kDone : report(done.error());
    };
  });
}

}  // namespace pinion::cli
