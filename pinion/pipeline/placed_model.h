#pragma once
// A model with every block in its place: this process's stage loaded, the workers' stages named. From it come
// the denoisers of a job, one per guidance branch; they share the loaded stage and take turns.

#include <memory>
#include <optional>
#include <vector>

#include "pinion/pipeline/denoiser.h"
#include "pinion/pipeline/placement.h"

namespace pinion::pipeline {

struct SplitOptions {
  std::vector<client::WorkerAddress> workers;
  std::string cut = "auto";
  codec::Profile codec;
  std::optional<codec::Profile> velocity_codec;  // if empty, what `codec` leads to; never calibrated
  enum class Auto { kOff, kAny, kExact };
  Auto auto_codec = Auto::kOff;       // on: in place of both, see client::AutoCodec
  double auto_target_db = 30;         // of kAny
  std::filesystem::path calibration;  // file with those of the cuts, if the codec is or may be calibrated
  client::ConnectOptions connect;
};

class PlacedModel {
 public:
  // Connects to the workers, checks that they hold the same weights, and waits until their stages are loaded;
  // loads nothing here, so that what cannot work fails before the long work. `stage` are the device and dtype
  // here; workers use the same dtype. `model` must outlive this.
  static Result<PlacedModel> place(models::Model& model, const SplitOptions& split,
                                   const models::StageOptions& stage);

  // Starts a job. The first call reads the weights of this process's blocks, and no others.
  Result<std::unique_ptr<Denoiser>> begin_job(const models::JobConstants& constants);

  const Placement& placement() const { return placement_; }
  std::size_t local_weight_bytes() const { return local_ == nullptr ? 0 : local_->weight_bytes(); }

  // What the first step of the first job chose, with its reasons; empty before, and if nothing was to choose.
  std::optional<codec::CodecChoice> codec_choice() const {
    return remote_ && remote_->auto_codec ? remote_->auto_codec->choice : std::nullopt;
  }

  // What the workers said about their stages.
  const std::vector<client::RemoteJob::StageReport>& workers() const { return workers_; }

 private:
  models::Model* model_ = nullptr;
  models::StageOptions stage_;
  Placement placement_;
  std::shared_ptr<models::Stage> local_;       // null until the first job, or if this process holds no block
  std::optional<client::RemotePlan> remote_;   // empty if nothing is remote
  std::unique_ptr<client::RemoteJob> opened_;  // opened by place(), taken by the first job
  client::ConnectOptions connect_;
  std::vector<client::RemoteJob::StageReport> workers_;
};

}  // namespace pinion::pipeline
