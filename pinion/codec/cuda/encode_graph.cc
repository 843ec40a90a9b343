#include "pinion/codec/cuda/encode_graph.h"

#include "pinion/codec/cuda/device_session.h"

namespace pinion::codec::cuda {

EncodeGraph::~EncodeGraph() {
  for (Ready& ready : ready_) forget(ready);
  if (recorder_ != nullptr) cudaStreamDestroy(recorder_);
}

Result<void> EncodeGraph::make() {
  return check(cudaStreamCreateWithFlags(&recorder_, cudaStreamNonBlocking), "no stream");
}

void EncodeGraph::forget(Ready& ready) {
  if (ready.executable != nullptr) cudaGraphExecDestroy(ready.executable);
  if (ready.graph != nullptr) cudaGraphDestroy(ready.graph);
  ready = {};
}

EncodeGraph::Form EncodeGraph::form_of(const EncodeJob& job) {
  return {job.elements.count,
          job.elements.channels,
          job.elements.width,
          job.mode,
          job.dtype,
          job.elements.before != nullptr || job.bounded.may_refer};
}

Result<void> EncodeGraph::launch(const EncodeJob& job, cudaStream_t stream) {
  const Form form = form_of(job);
  if (form != form_) {  // perhaps it comes but once
    form_ = form;
    return put_work(job, stream);
  }
  PINION_TRY(const Ready* const ready, ready_for(job));
  return check(cudaGraphLaunch(ready->executable, stream), "cannot start a graph");
}

Result<void> EncodeGraph::put_work(const EncodeJob& job, cudaStream_t stream) {
  if (static_cast<Mode>(job.mode) == Mode::kBounded) launch_numbers(job, stream);
  launch_statistics(job, stream);
  launch_choices(job, stream);
  launch_encoding(job, stream);
  launch_assembly(job, stream);
  launch_checksum(job, job.elements.count * job.tensor_width + kFrameSlack, stream);
  return check(cudaGetLastError(), "cannot start kernels");
}

Result<EncodeGraph::Ready*> EncodeGraph::ready_for(const EncodeJob& job) {
  const Form form = form_of(job);
  for (Ready& ready : ready_) {
    if (ready.form == form && ready.tensor == job.tensor) return &ready;
  }
  Ready& ready = ready_[next_];
  next_ = (next_ + 1) % ready_.size();
  ready.tensor = nullptr;  // until it is done
  if (ready.form == form) {
    PINION_TRY_VOID(change(job, ready));
  } else {
    forget(ready);
    PINION_TRY_VOID(capture(job, ready));
    ready.form = form;
  }
  ready.tensor = job.tensor;
  return &ready;
}

Result<void> EncodeGraph::capture(const EncodeJob& job, Ready& ready) {
  PINION_TRY_VOID(
      check(cudaStreamBeginCapture(recorder_, cudaStreamCaptureModeThreadLocal), "cannot record"));
  const Result<void> put = put_work(job, recorder_);
  PINION_TRY_VOID(check(cudaStreamEndCapture(recorder_, &ready.graph), "cannot record"));
  PINION_TRY_VOID(put);
  PINION_TRY_VOID(check(cudaGraphInstantiate(&ready.executable, ready.graph, 0), "no graph"));
  std::size_t count = 0;
  PINION_TRY_VOID(check(cudaGraphGetNodes(ready.graph, nullptr, &count), "no nodes"));
  ready.kernels.resize(count);
  return check(cudaGraphGetNodes(ready.graph, ready.kernels.data(), &count), "no nodes");
}

Result<void> EncodeGraph::change(const EncodeJob& job, Ready& ready) {
  EncodeJob copy = job;
  void* arguments[] = {&copy};
  for (const cudaGraphNode_t node : ready.kernels) {
    cudaKernelNodeParams params{};
    PINION_TRY_VOID(check(cudaGraphKernelNodeGetParams(node, &params), "cannot change a graph"));
    params.kernelParams = arguments;
    PINION_TRY_VOID(check(cudaGraphExecKernelNodeSetParams(ready.executable, node, &params),
                          "cannot change a graph"));
  }
  return {};
}

}  // namespace pinion::codec::cuda
