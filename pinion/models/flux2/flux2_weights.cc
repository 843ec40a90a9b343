#include "pinion/models/flux2/flux2_weights.h"

#include <fmt/format.h>

#include "pinion/models/load_tensor.h"

namespace pinion::models::flux2 {
namespace {

// Loads tensors by canonical name; the first failure sticks and ends the loading.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const StageOptions& options)
      : checkpoint_(checkpoint), options_(options) {}

  at::Tensor load(const std::string& name) {
    if (failure_) return {};
    auto loaded = load_tensor(checkpoint_, checkpoint_.tensor(name), options_);
    if (!loaded.ok()) {
      failure_ = std::move(loaded).error();
      return {};
    }
    bytes_ += loaded->nbytes();
    return std::move(loaded).value();
  }

  StreamWeights stream(const std::string& block, const std::string& stream) {
    return {.qkv = load(fmt::format("{}{}_attn.qkv.weight", block, stream)),
            .query_norm = load(fmt::format("{}{}_attn.norm.query_norm.scale", block, stream)),
            .key_norm = load(fmt::format("{}{}_attn.norm.key_norm.scale", block, stream)),
            .proj = load(fmt::format("{}{}_attn.proj.weight", block, stream)),
            .mlp_in = load(fmt::format("{}{}_mlp.0.weight", block, stream)),
            .mlp_out = load(fmt::format("{}{}_mlp.2.weight", block, stream))};
  }

  DoubleBlockWeights double_block(int index) {
    const std::string block = fmt::format("double_blocks.{}.", index);
    return {.image = stream(block, "img"), .text = stream(block, "txt")};
  }

  SingleBlockWeights single_block(int index) {
    const std::string block = fmt::format("single_blocks.{}.", index);
    return {.linear1 = load(block + "linear1.weight"),
            .linear2 = load(block + "linear2.weight"),
            .query_norm = load(block + "norm.query_norm.scale"),
            .key_norm = load(block + "norm.key_norm.scale")};
  }

  std::size_t bytes() const { return bytes_; }

  Result<void> check() const {
    if (failure_) return *failure_;
    return {};
  }

 private:
  const Checkpoint& checkpoint_;
  const StageOptions& options_;
  std::size_t bytes_ = 0;
  std::optional<Error> failure_;
};

}  // namespace

Result<std::shared_ptr<const StageWeights>> load_stage_weights(const Checkpoint& checkpoint, const Spec& spec,
                                                               BlockRange range,
                                                               const StageOptions& options) {
  Loader loader(checkpoint, options);
  auto weights = std::make_shared<StageWeights>();
  if (range.begin == 0) {
    weights->image_in = loader.load("img_in.weight");
    weights->text_in = loader.load("txt_in.weight");
  }
  weights->time = {loader.load("time_in.in_layer.weight"), loader.load("time_in.out_layer.weight")};
  if (spec.takes_guidance) {
    weights->guidance = {loader.load("guidance_in.in_layer.weight"),
                         loader.load("guidance_in.out_layer.weight")};
  }
  if (range.begin < spec.double_blocks) {
    weights->image_modulation = loader.load("double_stream_modulation_img.lin.weight");
    weights->text_modulation = loader.load("double_stream_modulation_txt.lin.weight");
  }
  if (range.end > spec.double_blocks)
    weights->single_modulation = loader.load("single_stream_modulation.lin.weight");
  for (int block = range.begin; block < range.end; ++block) {
    if (block < spec.double_blocks) {
      weights->double_blocks.push_back(loader.double_block(block));
    } else {
      weights->single_blocks.push_back(loader.single_block(block - spec.double_blocks));
    }
    PINION_TRY_VOID(loader.check());
  }
  if (range.end == spec.blocks()) {
    weights->final_modulation = loader.load("final_layer.adaLN_modulation.1.weight");
    weights->final_linear = loader.load("final_layer.linear.weight");
  }
  PINION_TRY_VOID(loader.check());
  weights->bytes = loader.bytes();
  return std::shared_ptr<const StageWeights>(std::move(weights));
}

}  // namespace pinion::models::flux2
