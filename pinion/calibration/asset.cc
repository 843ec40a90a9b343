#include "pinion/calibration/asset.h"

#include <algorithm>

namespace pinion::calibration {
namespace {

std::vector<float> floats_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kCPU, at::kFloat).contiguous();
  const float* begin = flat.const_data_ptr<float>();
  return {begin, begin + flat.numel()};
}

codec::Matrix matrix_of(const at::Tensor& tensor) {
  codec::Matrix matrix(static_cast<std::size_t>(tensor.size(0)), static_cast<std::size_t>(tensor.size(1)));
  matrix.values = floats_of(tensor);
  return matrix;
}

std::vector<std::uint8_t> levels_of(const at::Tensor& deviations) {
  std::vector<std::uint8_t> levels;
  for (const float deviation : floats_of(deviations)) levels.push_back(codec::level_of(deviation));
  return levels;
}

}  // namespace

codec::Calibration to_asset(const StreamModel& model, const codec::CalibrationKey& key,
                            std::span<const double> sigmas) {
  PINION_ASSERT(sigmas.size() == model.steps.size());
  codec::Calibration asset;
  asset.key = key;
  asset.has_history = model.has_history;
  asset.has_loudness = model.steps.front().loudness.defined();
  asset.has_response = model.steps.front().response.defined();
  asset.projection = matrix_of(model.projection);
  asset.reconstruction = matrix_of(model.reconstruction);
  for (std::size_t t = 0; t < model.steps.size(); ++t) {
    const StepModel& step = model.steps[t];
    codec::CalibrationRecord& record = asset.records.emplace_back();
    record.sigma = static_cast<float>(sigmas[t]);
    record.mean = floats_of(step.mean);
    record.latent_mean = floats_of(step.latent_mean);
    record.change_mean = floats_of(step.change_mean);
    record.latents_alone = matrix_of(step.alone.matrix);
    record.history = matrix_of(step.history.matrix);
    record.levels = levels_of(step.alone.deviations);
    record.history_levels = levels_of(step.history.deviations);
    record.gain = floats_of(step.gain);
    record.floor = static_cast<float>(step.floor);
    record.output_energy = static_cast<float>(std::max(step.output_energy, 1e-12));
    if (asset.has_response) record.response = matrix_of(step.response);
    if (!asset.has_loudness) continue;
    record.loudness = floats_of(step.loudness);
    record.loudness_bias = static_cast<float>(step.loudness_bias);
  }
  return asset;
}

}  // namespace pinion::calibration
