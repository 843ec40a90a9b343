#include "pinion/codec/cuda/recorded_graph.h"

#include <algorithm>

namespace pinion::codec::cuda {

RecordedGraphs::~RecordedGraphs() {
  for (const Recorded& recorded : recorded_) {
    if (recorded.executable != nullptr) cudaGraphExecDestroy(recorded.executable);
  }
  if (recorder_ != nullptr) cudaStreamDestroy(recorder_);
}

Result<void> RecordedGraphs::make() {
  return check(cudaStreamCreateWithFlags(&recorder_, cudaStreamNonBlocking), "no stream");
}

Result<void> RecordedGraphs::launch(const Form& form,
                                    const std::function<Result<void>(cudaStream_t)>& put_work,
                                    cudaStream_t stream) {
  const auto found = std::ranges::find(recorded_, form, &Recorded::form);
  if (found == recorded_.end()) {
    if (recorded_.size() == kMostForms) {
      if (recorded_.front().executable != nullptr) cudaGraphExecDestroy(recorded_.front().executable);
      recorded_.erase(recorded_.begin());
    }
    recorded_.push_back({form, nullptr});
    return put_work(stream);
  }
  if (found->executable == nullptr) {
    cudaGraph_t graph = nullptr;
    PINION_TRY_VOID(
        check(cudaStreamBeginCapture(recorder_, cudaStreamCaptureModeThreadLocal), "cannot record"));
    Result<void> put = put_work(recorder_);
    const cudaError_t ended = cudaStreamEndCapture(recorder_, &graph);
    if (put.ok()) put = check(ended, "cannot record");
    if (put.ok()) put = check(cudaGraphInstantiate(&found->executable, graph, 0), "no graph");
    if (graph != nullptr) cudaGraphDestroy(graph);
    PINION_TRY_VOID(put);
  }
  return check(cudaGraphLaunch(found->executable, stream), "cannot start a graph");
}

}  // namespace pinion::codec::cuda
