#include "pinion/models/flux2/flux2_forward_call.h"

#include <fmt/format.h>

#include "pinion/models/flux2/flux2_rope.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::flux2 {
namespace {

constexpr std::int64_t kAxes = 4;

Error invalid(std::string text, std::string hint = "") {
  return Error{Errc::kInvalidArgument, std::move(text), std::move(hint)};
}

Result<at::Tensor> argument(const TensorList& arguments, std::string_view name, std::int64_t rank) {
  const Tensor* tensor = find(arguments, name);
  if (tensor == nullptr) return invalid(fmt::format("the input '{}' is missing", name));
  if (static_cast<std::int64_t>(tensor->shape().rank()) != rank || tensor->elements() == 0) {
    return invalid(fmt::format("the input '{}' has shape {}, expected {} extents", name,
                               to_string(tensor->shape()), rank));
  }
  return to_torch(*tensor);
}

// Position ids [tokens, 4] as int64; ids that differ between batch items have no meaning to the model.
Result<at::Tensor> ids_argument(const TensorList& arguments, std::string_view name) {
  const Tensor* tensor = find(arguments, name);
  const bool batched = tensor != nullptr && tensor->shape().rank() == 3;
  PINION_TRY(at::Tensor ids, argument(arguments, name, batched ? 3 : 2));
  if (ids.size(-1) != kAxes)
    return invalid(fmt::format("the input '{}' has {} axes, expected {}", name, ids.size(-1), kAxes));
  if (batched) {
    if (!ids.eq(ids.select(0, 0)).all().item<bool>()) {
      return invalid(fmt::format("the input '{}' differs between batch items", name));
    }
    ids = ids.select(0, 0);
  }
  return ids.to(at::kLong);
}

// Reads one grid from the front of `ids`: rows that share a time, as many as its last row's position says.
LatentGrid leading_grid(const at::Tensor& ids) {
  const at::Tensor same_time = ids.select(1, 0).eq(ids.select(1, 0)[0]);
  const at::Tensor other = same_time.logical_not().nonzero();
  const std::int64_t rows = other.size(0) == 0 ? ids.size(0) : other[0][0].item<std::int64_t>();
  const at::Tensor last = ids[rows - 1];
  return {last[1].item<std::int64_t>() + 1, last[2].item<std::int64_t>() + 1};
}

Result<void> read_grids(const at::Tensor& image_ids, JobConstants& constants) {
  std::int64_t row = 0;
  while (row < image_ids.size(0)) {
    const LatentGrid grid = leading_grid(image_ids.narrow(0, row, image_ids.size(0) - row));
    const std::int64_t left = image_ids.size(0) - row;
    if (grid.height < 1 || grid.width < 1 || grid.height > left || grid.width > left || grid.tokens() > left)
      break;
    if (row == 0) {
      constants.grid = grid;
    } else {
      constants.references.push_back(grid);
    }
    row += grid.tokens();
  }
  const std::int64_t text_tokens = constants.text_tokens;
  if (row == image_ids.size(0)) {
    const at::Tensor expected = position_ids(constants);
    if (expected.narrow(0, text_tokens, row).equal(image_ids)) return {};
  }
  return invalid(
      "the input 'img_ids' is no sequence of whole grids (0, h, w, 0), (10, h, w, 0), (20, h, w, 0), …",
      "the picture comes first, then its references, each row by row");
}

Result<std::vector<float>> values(const TensorList& arguments, std::string_view name, std::int64_t batch) {
  PINION_TRY(const at::Tensor given, argument(arguments, name, 1));
  if (given.size(0) != batch && given.size(0) != 1) {
    return invalid(fmt::format("the input '{}' has {} values for a batch of {}", name, given.size(0), batch));
  }
  const at::Tensor spread = given.to(at::kFloat).expand({batch}).contiguous();
  const float* first = spread.const_data_ptr<float>();
  return std::vector<float>(first, first + batch);
}

Result<ForwardCall> read_call(const ModelInfo& model, const TensorList& arguments) {
  PINION_TRY(const at::Tensor hidden, argument(arguments, "hidden_states", 3));
  PINION_TRY(const at::Tensor context, argument(arguments, "encoder_hidden_states", 3));
  PINION_TRY(const at::Tensor image_ids, ids_argument(arguments, "img_ids"));
  PINION_TRY(const at::Tensor text_ids, ids_argument(arguments, "txt_ids"));

  ForwardCall call;
  call.constants.batch = hidden.size(0);
  call.constants.text_tokens = context.size(1);
  call.constants.velocity_of_references = true;
  if (text_ids.size(0) != context.size(1)) {
    return invalid(fmt::format("the input 'txt_ids' has {} rows, 'encoder_hidden_states' has {} tokens",
                               text_ids.size(0), context.size(1)));
  }
  if (image_ids.size(0) != hidden.size(1)) {
    return invalid(fmt::format("the input 'img_ids' has {} rows, 'hidden_states' has {} tokens",
                               image_ids.size(0), hidden.size(1)));
  }
  PINION_TRY_VOID(read_grids(image_ids, call.constants));
  if (!position_ids(call.constants).narrow(0, 0, text_ids.size(0)).equal(text_ids)) {
    return invalid("the input 'txt_ids' is not (0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 2), …");
  }
  PINION_TRY(call.input.sigma, values(arguments, "timestep", call.constants.batch));
  if (model.takes_guidance) {
    PINION_TRY(call.constants.guidance, values(arguments, "guidance", call.constants.batch));
  }
  const std::int64_t picture = call.constants.grid.tokens();
  call.constants.context = from_torch(context.to(at::kFloat));
  if (!call.constants.references.empty()) {
    call.constants.reference_latents =
        from_torch(hidden.narrow(1, picture, hidden.size(1) - picture).to(at::kFloat));
  }
  call.input.state = {{"latents", from_torch(hidden.narrow(1, 0, picture).to(at::kFloat))}};
  return call;
}

}  // namespace

Result<ForwardCall> read_diffusers_call(const ModelInfo& model, const TensorList& arguments) {
  return caught([&] {
    const c10::InferenceMode inference;
    return read_call(model, arguments);
  });
}

}  // namespace pinion::models::flux2
