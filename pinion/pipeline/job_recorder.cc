#include "pinion/pipeline/job_recorder.h"

#include <algorithm>
#include <string>
#include <utility>

namespace pinion::pipeline {

class JobRecorder::Recording : public Denoiser {
 public:
  Recording(JobRecorder& recorder, std::unique_ptr<Denoiser> inner)
      : recorder_(recorder), inner_(std::move(inner)) {}

  Result<Tensor> velocity(const DenoiseInput& input, DenoiseTrace& trace) override {
    DenoiseInput watched = input;
    watched.observer = [&](int block, const TensorList& state) {
      recorder_.keep_state(block, state, input.step);
    };
    recorder_.sigmas_.push_back(input.sigma.front());
    recorder_.keep("latents", input.step, input.latents);
    PINION_TRY(Tensor velocity, inner_->velocity(watched, trace));
    recorder_.keep("velocity", input.step, velocity);
    return velocity;
  }

  Result<void> finish() override { return inner_->finish(); }
  void cancel() override { inner_->cancel(); }

 private:
  JobRecorder& recorder_;
  std::unique_ptr<Denoiser> inner_;
};

Result<JobRecorder> JobRecorder::create(std::vector<int> cuts, int block_count) {
  for (const int cut : cuts) {
    if (cut > 0 && cut < block_count) continue;
    return Error{Errc::kInvalidArgument,
                 "cut " + std::to_string(cut) + " is not between two of the model's " +
                     std::to_string(block_count) + " blocks",
                 "choose cuts from 1 to " + std::to_string(block_count - 1)};
  }
  return JobRecorder(std::move(cuts));
}

std::unique_ptr<Denoiser> JobRecorder::around(std::unique_ptr<Denoiser> inner) {
  return std::make_unique<Recording>(*this, std::move(inner));
}

void JobRecorder::keep_state(int block, const TensorList& state, int step) {
  if (std::ranges::find(cuts_, block) == cuts_.end()) return;
  for (const NamedTensor& entry : state) {
    keep("cut" + std::to_string(block) + "." + entry.name, step, entry.tensor);
  }
}

void JobRecorder::keep(const std::string& name, int step, const Tensor& tensor) {
  auto host = models::to_cpu(tensor);
  if (!host.ok()) {
    if (!failure_) failure_ = std::move(host).error();
    return;
  }
  const Shape& shape = host->shape();
  const std::int64_t channels = shape[shape.rank() - 1];
  tensors_.push_back({name + ".t" + std::to_string(step),
                      Tensor::copy_of(*host).reshaped({shape.elements() / channels, channels})});
}

Result<TensorList> JobRecorder::take() {
  if (failure_) return *std::move(failure_);
  tensors_.push_back({"sigmas", Tensor::from_floats(sigmas_, {static_cast<std::int64_t>(sigmas_.size())})});
  return std::move(tensors_);
}

}  // namespace pinion::pipeline
