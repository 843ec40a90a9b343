#include "pinion/models/flux2/flux2_inputs.h"

#include <fmt/format.h>

#include <cmath>

namespace pinion::models::flux2 {
namespace {

// Far above what any card can run, far below where sizes overflow.
constexpr std::int64_t kMaxBatch = 1024;
constexpr std::int64_t kMaxSide = 16384;
constexpr std::int64_t kMaxTokens = 1 << 20;
constexpr std::size_t kMaxReferences = 64;

Error invalid(std::string text) { return Error{Errc::kInvalidArgument, std::move(text), ""}; }

Result<void> check_grid(LatentGrid grid, std::string_view what) {
  const auto fits = [](std::int64_t side) { return side >= 1 && side <= kMaxSide; };
  if (fits(grid.height) && fits(grid.width) && grid.tokens() <= kMaxTokens) return {};
  return invalid(fmt::format("{} of {}x{} tokens is not possible", what, grid.height, grid.width));
}

struct Expected {
  std::string_view what;
  Shape shape;
  std::vector<DType> dtypes;
};

Result<void> check_tensor(const Tensor& tensor, const Expected& expected) {
  if (!tensor.defined()) return invalid(fmt::format("{} is missing", expected.what));
  if (tensor.shape() != expected.shape) {
    return invalid(fmt::format("{} has shape {}, expected {} ([batch, tokens, channels])", expected.what,
                               to_string(tensor.shape()), to_string(expected.shape)));
  }
  for (const DType dtype : expected.dtypes) {
    if (tensor.dtype() == dtype) return {};
  }
  return invalid(fmt::format("{} is {}, but the stage computes in {}", expected.what, name(tensor.dtype()),
                             name(expected.dtypes.front())));
}

Result<void> check_sizes(const JobConstants& constants) {
  if (constants.batch < 1 || constants.batch > kMaxBatch) {
    return invalid(fmt::format("a batch of {} is not possible", constants.batch));
  }
  PINION_TRY_VOID(check_grid(constants.grid, "a picture"));
  if (constants.references.size() > kMaxReferences) {
    return invalid(
        fmt::format("{} reference images are more than {}", constants.references.size(), kMaxReferences));
  }
  for (const LatentGrid& reference : constants.references) {
    PINION_TRY_VOID(check_grid(reference, "a reference image"));
  }
  if (constants.text_tokens < 1 || constants.text_tokens > kMaxTokens ||
      image_tokens(constants) + constants.text_tokens > kMaxTokens) {
    return invalid(fmt::format("{} image and {} text tokens are not possible", image_tokens(constants),
                               constants.text_tokens));
  }
  return {};
}

Result<void> check_guidance(const Spec& spec, const JobConstants& constants) {
  const std::size_t expected = spec.takes_guidance ? static_cast<std::size_t>(constants.batch) : 0;
  if (constants.guidance.size() != expected) {
    return invalid(fmt::format("{} guidance values were given, but this model takes {} for a batch of {}",
                               constants.guidance.size(), expected, constants.batch));
  }
  for (const float value : constants.guidance) {
    if (!std::isfinite(value)) return invalid("a guidance value is not a finite number");
  }
  return {};
}

}  // namespace

std::int64_t image_tokens(const JobConstants& constants) {
  std::int64_t tokens = constants.grid.tokens();
  for (const LatentGrid& reference : constants.references) tokens += reference.tokens();
  return tokens;
}

Result<void> check_constants(const StageSetup& setup, const JobConstants& constants) {
  PINION_TRY_VOID(check_sizes(constants));
  PINION_TRY_VOID(check_guidance(setup.spec, constants));
  if (!setup.embeds()) return {};
  const std::vector<DType> any_float = {setup.options.dtype, DType::kF32, DType::kBF16, DType::kF16};
  PINION_TRY_VOID(
      check_tensor(constants.context, {"the text embedding",
                                       {constants.batch, constants.text_tokens, setup.spec.context_channels},
                                       any_float}));
  if (constants.references.empty()) {
    if (constants.reference_latents.defined())
      return invalid("reference latents were given without reference images");
    return {};
  }
  return check_tensor(
      constants.reference_latents,
      {"the reference latents",
       {constants.batch, image_tokens(constants) - constants.grid.tokens(), setup.spec.latent_channels},
       any_float});
}

Result<void> check_step(const StageSetup& setup, const JobConstants& constants, const StepInput& input) {
  if (static_cast<std::int64_t>(input.sigma.size()) != constants.batch) {
    return invalid(
        fmt::format("{} noise levels were given for a batch of {}", input.sigma.size(), constants.batch));
  }
  for (const float sigma : input.sigma) {
    if (!(sigma >= 0.0f && sigma <= 1.0f))
      return invalid(fmt::format("the noise level {} is not between 0 and 1", sigma));
  }
  const auto check = [&](std::string_view name, std::int64_t tokens, std::int64_t channels,
                         std::vector<DType> dtypes) {
    const Tensor* tensor = find(input.state, name);
    const std::string what = fmt::format("the state's '{}'", name);
    return check_tensor(tensor == nullptr ? Tensor() : *tensor,
                        {what, {constants.batch, tokens, channels}, std::move(dtypes)});
  };
  const std::size_t expected = setup.embeds() ? 1 : 2;
  if (input.state.size() != expected) {
    return invalid(fmt::format("the state at cut {} has {} tensors, expected {}", setup.range.begin,
                               input.state.size(), expected));
  }
  if (setup.embeds()) {
    return check("latents", constants.grid.tokens(), setup.spec.latent_channels,
                 {setup.options.dtype, DType::kF32});
  }
  PINION_TRY_VOID(check("image", image_tokens(constants), setup.spec.hidden, {setup.options.dtype}));
  return check("text", constants.text_tokens, setup.spec.hidden, {setup.options.dtype});
}

}  // namespace pinion::models::flux2
