#include "pinion/models/flux2/flux2_stage.h"

#include "pinion/models/flux2/flux2_inputs.h"
#include "pinion/models/flux2/flux2_rope.h"
#include "pinion/models/recorded_step.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::flux2 {
namespace {

// Everything that the timestep decides.
struct StepModulations {
  at::Tensor time;
  DoubleModulation of_doubles;
  Modulation of_singles;
};

// The state on its way through a stage: two streams through the double blocks, joined (text first) from the
// first single block on. Handing it out splits it, so a cut looks the same everywhere.
class FlowingState {
 public:
  explicit FlowingState(Streams streams)
      : streams_(std::move(streams)), text_tokens_(streams_.text.size(1)) {}

  void run(const DoubleBlockWeights& weights, const DoubleModulation& modulation, const at::Tensor& rope) {
    streams_ = double_block(weights, modulation, streams_, rope);
  }

  void run(const SingleBlockWeights& weights, const Modulation& modulation, const at::Tensor& rope) {
    if (!joint_.defined()) {
      joint_ = at::cat({streams_.text, streams_.image}, 1);
      streams_ = {};
    }
    joint_ = single_block(weights, modulation, joint_, rope);
  }

  // The first `tokens` image rows.
  at::Tensor image(std::int64_t tokens) const {
    return joint_.defined() ? joint_.narrow(1, text_tokens_, tokens) : streams_.image.narrow(1, 0, tokens);
  }

  NamedTorch split() const {
    if (!joint_.defined()) return {{"image", streams_.image}, {"text", streams_.text}};
    return {{"image", image(joint_.size(1) - text_tokens_)}, {"text", joint_.narrow(1, 0, text_tokens_)}};
  }

  TensorList hand_out() const { return from_torch(split()); }

 private:
  Streams streams_;
  at::Tensor joint_;
  std::int64_t text_tokens_;
};

class Flux2Job : public StageJob {
 public:
  Flux2Job(const StageSetup& setup, std::shared_ptr<const StageWeights> weights, JobConstants constants)
      : setup_(setup), weights_(std::move(weights)), constants_(std::move(constants)) {
    const at::Device device = to_torch(setup_.options.device);
    const at::ScalarType dtype = to_torch(setup_.options.dtype);
    rope_ = rope_table(position_ids(constants_), setup_.spec.head_width).to(device);
    if (setup_.spec.takes_guidance) {
      guidance_ = embed_time(weights_->guidance,
                             time_features(constants_.guidance, setup_.spec.time_features).to(device, dtype));
    }
    if (setup_.embeds()) {
      text_ = at::linear(to_torch(constants_.context).to(device, dtype), weights_->text_in);
      if (constants_.reference_latents.defined()) {
        reference_latents_ = to_torch(constants_.reference_latents).to(device, dtype);
      }
    }
  }

  Result<StepOutput> step(const StepInput& input, const BlockObserver& observer) override {
    PINION_TRY_VOID(check_step(setup_, constants_, input));
    return caught([&]() -> Result<StepOutput> {
      const c10::InferenceMode inference;
      return from_torch(run(take_in(input.state), modulate(input.sigma), observer));
    });
  }

  Result<std::unique_ptr<LinearisedStep>> linearise(const StepInput& input) override {
    PINION_TRY_VOID(check_step(setup_, constants_, input));
    return caught([&]() -> Result<std::unique_ptr<LinearisedStep>> {
      const StepModulations modulations = unrecorded_modulations(input.sigma);
      const c10::AutoGradMode recording(true);
      NamedTorch entering = take_in(input.state);
      for (auto& [name, tensor] : entering) tensor = tensor.detach().clone().requires_grad_();
      NamedTorch output = run(entering, modulations, {});
      return std::unique_ptr<LinearisedStep>(
          std::make_unique<RecordedStep>(std::move(entering), std::move(output)));
    });
  }

 private:
  NamedTorch run(const NamedTorch& entering, const StepModulations& modulations,
                 const BlockObserver& observer) const {
    FlowingState state(embed(entering));
    const int doubles = setup_.spec.double_blocks;
    const int first_single = std::max(setup_.range.begin, doubles);
    for (int block = setup_.range.begin; block < setup_.range.end; ++block) {
      if (observer) observer(block, state.hand_out());
      if (block < doubles) {
        state.run(weights_->double_blocks[static_cast<std::size_t>(block - setup_.range.begin)],
                  modulations.of_doubles, rope_);
      } else {
        state.run(weights_->single_blocks[static_cast<std::size_t>(block - first_single)],
                  modulations.of_singles, rope_);
      }
    }
    if (!setup_.finishes()) return state.split();
    const std::int64_t rows =
        constants_.velocity_of_references ? image_tokens(constants_) : constants_.grid.tokens();
    return {{"velocity", finish(weights_->final_modulation, weights_->final_linear, modulations.time,
                                state.image(rows))}};
  }

  StepModulations unrecorded_modulations(const std::vector<float>& sigma) const {
    const c10::NoGradGuard no_grad;
    return modulate(sigma);
  }

  StepModulations modulate(const std::vector<float>& sigma) const {
    StepModulations all;
    const at::Tensor features = time_features(sigma, setup_.spec.time_features)
                                    .to(to_torch(setup_.options.device), to_torch(setup_.options.dtype));
    all.time = embed_time(weights_->time, features);
    if (guidance_.defined()) all.time = all.time + guidance_;
    if (weights_->image_modulation.defined()) {
      const auto image = modulations(weights_->image_modulation, all.time);
      const auto text = modulations(weights_->text_modulation, all.time);
      all.of_doubles = {.image = {image[0], image[1]}, .text = {text[0], text[1]}};
    }
    if (weights_->single_modulation.defined())
      all.of_singles = modulations(weights_->single_modulation, all.time)[0];
    return all;
  }

  // What enters, on the device: the latents, or the state at the stage's first cut.
  NamedTorch take_in(const TensorList& state) const {
    if (setup_.embeds()) return {{"latents", on_device(*find(state, "latents"))}};
    return {{"image", on_device(*find(state, "image"))}, {"text", on_device(*find(state, "text"))}};
  }

  Streams embed(const NamedTorch& entering) const {
    if (!setup_.embeds()) return {.image = entering[0].second, .text = entering[1].second};
    at::Tensor tokens = entering[0].second;
    if (reference_latents_.defined()) tokens = at::cat({tokens, reference_latents_}, 1);
    return {.image = at::linear(tokens, weights_->image_in), .text = text_};
  }

  // In the stage's dtype on its device, aligned as libtorch's own tensors are: kernels may round otherwise
  // at other addresses.
  at::Tensor on_device(const Tensor& tensor) const {
    constexpr std::uintptr_t kAlignment = 64;
    const at::Tensor placed =
        to_torch(tensor).to(to_torch(setup_.options.device), to_torch(setup_.options.dtype));
    const bool aligned = reinterpret_cast<std::uintptr_t>(placed.const_data_ptr()) % kAlignment == 0;
    return aligned ? placed : placed.clone();
  }

  StageSetup setup_;
  std::shared_ptr<const StageWeights> weights_;
  JobConstants constants_;
  at::Tensor rope_;
  at::Tensor guidance_;  // embedded; undefined if the model takes none
  at::Tensor text_;      // embedded; these two only if the stage embeds
  at::Tensor reference_latents_;
};

class Flux2Stage : public Stage {
 public:
  Flux2Stage(const StageSetup& setup, std::shared_ptr<const StageWeights> weights)
      : setup_(setup), weights_(std::move(weights)) {}

  BlockRange range() const override { return setup_.range; }
  const StageOptions& options() const override { return setup_.options; }
  std::size_t weight_bytes() const override { return weights_->bytes; }

  Result<std::unique_ptr<StageJob>> begin_job(JobConstants constants) override {
    PINION_TRY_VOID(check_constants(setup_, constants));
    return caught([&]() -> Result<std::unique_ptr<StageJob>> {
      const c10::NoGradGuard no_grad;
      return std::unique_ptr<StageJob>(std::make_unique<Flux2Job>(setup_, weights_, std::move(constants)));
    });
  }

 private:
  StageSetup setup_;
  std::shared_ptr<const StageWeights> weights_;
};

}  // namespace

std::unique_ptr<Stage> make_stage(const StageSetup& setup, std::shared_ptr<const StageWeights> weights) {
  return std::make_unique<Flux2Stage>(setup, std::move(weights));
}

}  // namespace pinion::models::flux2
