#include "bench/loop/pca_learning.h"

#include <ATen/ATen.h>

#include "pinion/models/torch_bridge.h"

namespace pinion::bench {
namespace {

struct Sums {
  at::Tensor sum, products;  // of rows and of their outer products, float64
  std::int64_t rows = 0;

  void add(const at::Tensor& tensor) {
    const at::Tensor values = tensor.reshape({-1, tensor.size(-1)}).to(at::kDouble);
    const at::Tensor new_products = at::matmul(values.t(), values);
    sum = rows == 0 ? values.sum(0) : sum + values.sum(0);
    products = rows == 0 ? new_products : products + new_products;
    rows += values.size(0);
  }

  PcaBasis solve() const {
    const at::Tensor mean = (sum / static_cast<double>(rows)).cpu();
    const at::Tensor covariance = (products / static_cast<double>(rows)).cpu() - at::outer(mean, mean);
    const auto [values, vectors] = at::linalg_eigh(covariance);
    const at::Tensor falling = values.flip(0).contiguous();
    const at::Tensor directions = vectors.t().flip(0).to(at::kFloat).contiguous();
    const at::Tensor mean32 = mean.to(at::kFloat).contiguous();
    const auto channels = static_cast<std::size_t>(mean.size(0));
    PcaBasis basis{{}, codec::Matrix(channels, channels), {}};
    basis.mean.assign(mean32.const_data_ptr<float>(), mean32.const_data_ptr<float>() + channels);
    basis.directions.values.assign(directions.const_data_ptr<float>(),
                                   directions.const_data_ptr<float>() + channels * channels);
    basis.variances.assign(falling.const_data_ptr<double>(), falling.const_data_ptr<double>() + channels);
    return basis;
  }
};

}  // namespace

Result<PcaBases> learn_pca(LockStep& lock_step, const std::vector<int>& cuts, std::vector<LoopJob> jobs) {
  return models::caught([&]() -> Result<PcaBases> {
    std::map<std::pair<int, std::string>, Sums> sums;
    PINION_TRY_VOID(lock_step.begin(std::move(jobs)));
    const Result<Tensor> latents = lock_step.run_uncoded([&](const calibration::ChainStep& step) {
      for (std::size_t cut = 0; cut < cuts.size(); ++cut) {
        for (const NamedTensor& state : step.states[cut]) {
          sums[{cuts[cut], state.name}].add(models::to_torch(state.tensor));
        }
      }
      return Result<void>();
    });
    if (!latents.ok()) return latents.error();
    PcaBases bases;
    for (const auto& [place, sum] : sums) bases.emplace(place, sum.solve());
    return bases;
  });
}

}  // namespace pinion::bench
