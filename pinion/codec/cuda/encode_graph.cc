#include "pinion/codec/cuda/encode_graph.h"

#include "pinion/codec/cuda/device_session.h"

namespace pinion::codec::cuda {

EncodeGraph::~EncodeGraph() {
  forget();
  if (recorder_ != nullptr) cudaStreamDestroy(recorder_);
}

Result<void> EncodeGraph::make() {
  return check(cudaStreamCreateWithFlags(&recorder_, cudaStreamNonBlocking), "no stream");
}

void EncodeGraph::forget() {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
  if (graph_ != nullptr) cudaGraphDestroy(graph_);
  executable_ = nullptr;
  graph_ = nullptr;
  kernels_.clear();
  form_ = {};
}

Result<void> EncodeGraph::launch(const EncodeJob& job, EncodeOutcome* outcome_on_host, cudaStream_t stream) {
  const Form form{job.elements.count, job.elements.channels, job.elements.width,
                  job.elements.before != nullptr};
  if (form != form_) {
    forget();
    form_ = form;
    return put_work(job, outcome_on_host, stream);
  }
  if (executable_ == nullptr) {
    PINION_TRY_VOID(capture(job, outcome_on_host));
  } else {
    PINION_TRY_VOID(change(job));
  }
  return check(cudaGraphLaunch(executable_, stream), "cannot start a graph");
}

Result<void> EncodeGraph::put_work(const EncodeJob& job, EncodeOutcome* outcome_on_host,
                                   cudaStream_t stream) {
  launch_statistics(job, stream);
  launch_choices(job, stream);
  launch_encoding(job, stream);
  launch_assembly(job, stream);
  launch_checksum(job, job.elements.count * job.elements.width + kFrameSlack, stream);
  cudaMemcpyAsync(outcome_on_host, job.outcome, sizeof(EncodeOutcome), cudaMemcpyDeviceToHost, stream);
  return check(cudaGetLastError(), "cannot start kernels");
}

Result<void> EncodeGraph::capture(const EncodeJob& job, EncodeOutcome* outcome_on_host) {
  PINION_TRY_VOID(
      check(cudaStreamBeginCapture(recorder_, cudaStreamCaptureModeThreadLocal), "cannot record"));
  const Result<void> put = put_work(job, outcome_on_host, recorder_);
  PINION_TRY_VOID(check(cudaStreamEndCapture(recorder_, &graph_), "cannot record"));
  PINION_TRY_VOID(put);
  PINION_TRY_VOID(check(cudaGraphInstantiate(&executable_, graph_, 0), "no graph"));
  return find_kernels();
}

Result<void> EncodeGraph::find_kernels() {
  std::size_t count = 0;
  PINION_TRY_VOID(check(cudaGraphGetNodes(graph_, nullptr, &count), "no nodes"));
  std::vector<cudaGraphNode_t> nodes(count);
  PINION_TRY_VOID(check(cudaGraphGetNodes(graph_, nodes.data(), &count), "no nodes"));
  for (const cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
    PINION_TRY_VOID(check(cudaGraphNodeGetType(node, &type), "no nodes"));
    if (type == cudaGraphNodeTypeKernel) kernels_.push_back(node);
  }
  return {};
}

Result<void> EncodeGraph::change(const EncodeJob& job) {
  EncodeJob copy = job;
  void* arguments[] = {&copy};
  for (const cudaGraphNode_t node : kernels_) {
    cudaKernelNodeParams params{};
    PINION_TRY_VOID(check(cudaGraphKernelNodeGetParams(node, &params), "cannot change a graph"));
    params.kernelParams = arguments;
    PINION_TRY_VOID(
        check(cudaGraphExecKernelNodeSetParams(executable_, node, &params), "cannot change a graph"));
  }
  return {};
}

}  // namespace pinion::codec::cuda
