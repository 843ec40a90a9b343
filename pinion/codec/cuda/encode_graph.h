#pragma once
// Everything that makes a lossless frame as one CUDA graph, so that the host starts it with one call. It is
// made for a shape and kept; of another tensor of that shape only the kernels' arguments change. Used by one
// thread at a time.

#include <vector>

#include "pinion/codec/cuda/cuda_memory.h"
#include "pinion/codec/cuda/kernels.h"

namespace pinion::codec::cuda {

class EncodeGraph {
 public:
  EncodeGraph() = default;
  ~EncodeGraph();
  EncodeGraph(const EncodeGraph&) = delete;
  EncodeGraph& operator=(const EncodeGraph&) = delete;

  Result<void> make();

  // Puts the work of `job` on the stream, the frame's checksum and the copy of the outcome to the host
  // included. The graph's work of before is done.
  Result<void> launch(const EncodeJob& job, EncodeOutcome* outcome_on_host, cudaStream_t stream);

 private:
  // What decides which kernels there are and how large.
  struct Form {
    std::uint64_t count = 0;
    std::uint32_t channels = 0, width = 0;
    bool may_predict = false;
    bool operator==(const Form&) const = default;
  };

  Result<void> put_work(const EncodeJob& job, EncodeOutcome* outcome_on_host, cudaStream_t stream);
  Result<void> capture(const EncodeJob& job, EncodeOutcome* outcome_on_host);
  Result<void> find_kernels();
  Result<void> change(const EncodeJob& job);
  void forget();

  cudaStream_t recorder_ = nullptr;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
  std::vector<cudaGraphNode_t> kernels_;  // all take the job and nothing else
  Form form_;
};

}  // namespace pinion::codec::cuda
