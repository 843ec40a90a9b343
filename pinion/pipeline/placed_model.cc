#include "pinion/pipeline/placed_model.h"

namespace pinion::pipeline {

Result<PlacedModel> PlacedModel::place(models::Model& model, const SplitOptions& split,
                                       const models::StageOptions& stage) {
  PlacedModel placed;
  placed.model_ = &model;
  placed.stage_ = stage;
  placed.connect_ = split.connect;
  const int workers = static_cast<int>(split.workers.size());
  PINION_TRY(placed.placement_, pipeline::place(split.cut, model.block_count(), workers));
  if (placed.placement_.is_local()) return placed;

  PINION_TRY(std::string hash, model.content_hash());
  placed.remote_ = client::RemotePlan{.model_hash = std::move(hash),
                                      .model_label = model.info().path.string(),
                                      .dtype = std::string(name(stage.dtype)),
                                      .picture_tensor = model.info().picture_tensor(),
                                      .stages = {},
                                      .state_profile = split.codec,
                                      .velocity_profile = split.velocity_codec,
                                      .calibrations = {},
                                      .auto_codec = nullptr};
  if (split.auto_codec != SplitOptions::Auto::kOff) {
    placed.remote_->auto_codec = std::make_shared<client::AutoCodec>(
        client::AutoCodec{.exact_only = split.auto_codec == SplitOptions::Auto::kExact,
                          .target_db = split.auto_target_db,
                          .choice = std::nullopt});
  }
  if (!split.calibration.empty()) {
    PINION_TRY(placed.remote_->calibrations,
               codec::CalibrationSet::open(split.calibration, placed.remote_->model_hash));
  }
  for (std::size_t i = 0; i < placed.placement_.remote.size(); ++i) {
    const models::BlockRange range = placed.placement_.remote[i];
    placed.remote_->stages.push_back({split.workers[i], range.begin, range.end});
  }
  PINION_TRY(placed.opened_, client::RemoteJob::open(*placed.remote_, placed.connect_));
  placed.workers_ = placed.opened_->stages();
  return placed;
}

Result<std::unique_ptr<Denoiser>> PlacedModel::begin_job(const models::JobConstants& constants) {
  if (local_ == nullptr && placement_.local.size() > 0) {
    PINION_TRY(local_, model_->load_stage(placement_.local, stage_));
  }
  if (!remote_) return make_local_denoiser(local_, constants);
  std::unique_ptr<client::RemoteJob> remote = std::move(opened_);
  if (remote == nullptr) {
    PINION_TRY(remote, client::RemoteJob::open(*remote_, connect_));
  }
  return make_split_denoiser(local_, std::move(remote), constants);
}

}  // namespace pinion::pipeline
