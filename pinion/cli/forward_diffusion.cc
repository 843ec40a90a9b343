#include "pinion/cli/forward_diffusion.h"

#include <fmt/core.h>

#include "pinion/base/float_formats.h"
#include "pinion/cli/codec_choice_text.h"
#include "pinion/models/family.h"
#include "pinion/pipeline/split_forward.h"

namespace pinion::cli {
namespace {

Result<Tensor> to_cpu_float(const Tensor& tensor) {
  PINION_TRY(const Tensor host, models::to_cpu(tensor));
  return as_float32(host);
}

// Keeps copies of what the observer is shown; the first failure is kept instead.
class HiddenStates {
 public:
  void add(int block, const TensorList& state) {
    for (const NamedTensor& entry : state) {
      auto host = to_cpu_float(entry.tensor);
      if (host.ok()) {
        tensors_.push_back({fmt::format("hidden.{}.{}", block, entry.name), std::move(host).value()});
      } else if (!failure_) {
        failure_ = std::move(host).error();
      }
    }
  }

  Result<TensorList> take() {
    if (failure_) return *std::move(failure_);
    return std::move(tensors_);
  }

 private:
  TensorList tensors_;
  std::optional<Error> failure_;
};

Result<TensorList> forward_on_workers(models::Model& model, models::ForwardCall call,
                                      const ForwardRequest& request) {
  if (request.hidden) {
    return Error{Errc::kInvalidArgument, "--hidden shows the states of blocks in this process",
                 "leave out --worker"};
  }
  call.constants.velocity_of_references = false;
  PINION_TRY(pipeline::SplitForward forward,
             pipeline::forward_split(model, call, request.split, request.stage));
  if (forward.codec_choice) fmt::print("{}", codec_choice_text(*forward.codec_choice));
  return TensorList{{"sample", std::move(forward.velocity)}};
}

}  // namespace

Result<TensorList> forward_diffusion(const ForwardRequest& request) {
  PINION_TRY(const auto model, models::open_model(request.model));
  const models::Family* family = models::find_family(model->info().family);
  PINION_TRY(models::ForwardCall call, family->read_forward_call(model->info(), request.arguments));
  if (!request.split.workers.empty()) return forward_on_workers(*model, std::move(call), request);
  PINION_TRY(const auto stage, model->load_stage({0, model->block_count()}, request.stage));
  PINION_TRY(const auto job, stage->begin_job(std::move(call.constants)));

  HiddenStates hidden;
  models::BlockObserver observer;
  if (request.hidden) observer = [&](int block, const TensorList& state) { hidden.add(block, state); };
  PINION_TRY(const models::StepOutput output, job->step(call.input, observer));
  PINION_TRY(Tensor sample, to_cpu_float(output.front().tensor));
  PINION_TRY(TensorList tensors, hidden.take());
  tensors.push_back({"sample", std::move(sample)});
  return tensors;
}

}  // namespace pinion::cli
