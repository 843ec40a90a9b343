#include "pinion/models/flux2/flux2_rope.h"

namespace pinion::models::flux2 {
namespace {

constexpr double kTheta = 2000.0;
constexpr int kAxes = 4;
constexpr std::int64_t kReferenceSpacing = 10;

at::Tensor grid_ids(LatentGrid grid, std::int64_t time) {
  at::Tensor ids = at::zeros({grid.height, grid.width, kAxes}, at::kLong);
  ids.select(2, 0).fill_(time);
  ids.select(2, 1).copy_(at::arange(grid.height, at::kLong).unsqueeze(1));
  ids.select(2, 2).copy_(at::arange(grid.width, at::kLong).unsqueeze(0));
  return ids.view({grid.tokens(), kAxes});
}

}  // namespace

at::Tensor position_ids(const JobConstants& constants) {
  at::Tensor text = at::zeros({constants.text_tokens, kAxes}, at::kLong);
  text.select(1, 3).copy_(at::arange(constants.text_tokens, at::kLong));
  std::vector<at::Tensor> parts = {text, grid_ids(constants.grid, 0)};
  std::int64_t time = 0;
  for (const LatentGrid& reference : constants.references)
    parts.push_back(grid_ids(reference, time += kReferenceSpacing));
  return at::cat(parts, 0);
}

at::Tensor rope_table(const at::Tensor& ids, std::int64_t head_width) {
  const std::int64_t axis_width = head_width / kAxes;
  const at::Tensor exponents = at::arange(0, axis_width, 2, at::kDouble) / static_cast<double>(axis_width);
  const at::Tensor frequencies = at::pow(kTheta, exponents).reciprocal();
  // [tokens, axes, 1] * [pairs] -> [tokens, axes * pairs]
  const at::Tensor angles = (ids.to(at::kDouble).unsqueeze(2) * frequencies).flatten(1);
  return at::complex(angles.cos().to(at::kFloat), angles.sin().to(at::kFloat));
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& table) {
  const at::Tensor pairs = at::view_as_complex(x.to(at::kFloat).unflatten(-1, {-1, 2}));
  return at::view_as_real(pairs * table.unsqueeze(1)).flatten(-2).to(x.scalar_type());
}

}  // namespace pinion::models::flux2
