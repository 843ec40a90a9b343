#pragma once
// Work on a stream that is put there again and again, as a CUDA graph for each form of it: the host then
// starts it with one call. What changes from call to call lies in device memory. Used by one thread at a
// time.

#include <functional>
#include <vector>

#include "pinion/codec/cuda/cuda_memory.h"

namespace pinion::codec::cuda {

class RecordedGraphs {
 public:
  RecordedGraphs() = default;
  ~RecordedGraphs();
  RecordedGraphs(const RecordedGraphs&) = delete;
  RecordedGraphs& operator=(const RecordedGraphs&) = delete;

  Result<void> make();

  // Puts the work of a form on the stream. `put_work` puts it on the one that it is given; forms that are
  // equal put the same. It is recorded when a form comes the second time; few forms are kept.
  using Form = std::vector<std::uint64_t>;
  Result<void> launch(const Form& form, const std::function<Result<void>(cudaStream_t)>& put_work,
                      cudaStream_t stream);

 private:
  // A stream of fidelity has five: key frame, the frame behind it, then three turns of its states.
  static constexpr std::size_t kMostForms = 5;
  struct Recorded {
    Form form;
    cudaGraphExec_t executable = nullptr;  // null until it comes again
  };

  cudaStream_t recorder_ = nullptr;
  std::vector<Recorded> recorded_;  // the latest last
};

}  // namespace pinion::codec::cuda
