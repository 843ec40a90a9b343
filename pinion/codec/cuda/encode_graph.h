#pragma once
// Everything that makes a frame of mode 1 or 3 as one CUDA graph, so that the host starts it with one call. Graphs
// are made for a shape; a few are kept for tensors at different places. Used by one thread at a time.

#include <array>
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

  // Puts the work of `job` on the stream, the frame's checksum included. The work of before is done.
  Result<void> launch(const EncodeJob& job, cudaStream_t stream);

 private:
  // What decides which kernels there are and how large.
  struct Form {
    std::uint64_t count = 0;
    std::uint32_t channels = 0, width = 0;
    std::uint8_t mode = 0, dtype = 0;
    bool may_predict = false;
    bool operator==(const Form&) const = default;
  };
  // One that is ready to be started for tensors at a place.
  struct Ready {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    std::vector<cudaGraphNode_t> kernels;  // all take the job and nothing else
    Form form;
    const std::byte* tensor = nullptr;
  };

  static Form form_of(const EncodeJob& job);
  Result<void> put_work(const EncodeJob& job, cudaStream_t stream);
  Result<Ready*> ready_for(const EncodeJob& job);
  Result<void> capture(const EncodeJob& job, Ready& ready);
  Result<void> change(const EncodeJob& job, Ready& ready);
  static void forget(Ready& ready);

  cudaStream_t recorder_ = nullptr;
  std::array<Ready, 4> ready_;
  std::size_t next_ = 0;  // the one that makes room
  Form form_;  // of the last job
};

}  // namespace pinion::codec::cuda
