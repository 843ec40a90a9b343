#pragma once
// A way to send the tensors of a split model, as closed_loop compares them: ours, and what others do.
//
// A StateCoder is one way at one setting. It is immutable and used by several threads at once; a StreamCoder
// is one stream of one job, used by one thread at a time, its tensors in order.

#include <memory>
#include <string>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/calibrated/calibrated_codec.h"
#include "pinion/codec/planes/picture_layout.h"

namespace pinion::bench {

// Where a stream crosses.
struct StreamPlace {
  int cut = 0;
  std::string stream;     // "image", "text", "velocity"
  codec::TokenGrid grid;  // of the picture's tokens
  // All streams of a job that are coded at each step, this one among them, and the rows of their tensors;
  // empty: it is alone.
  std::vector<std::pair<std::string, std::int64_t>> step_streams = {};
};

// One tensor there.
struct PassedTensor {
  Tensor received;  // on the CPU, shaped as what was sent, of a float type
  double frame_bytes = 0;
  double basis_bytes = 0;  // of what was sent once to understand frames
  double index_bits = 0;   // what the frame's indices take: in mode 2 under their own histograms, in mode 6
                           // under the tables in use; 0 if nobody counts
  std::vector<float> correction = {};  // what the sender adds to the velocity that comes back; empty: nothing
};

class StreamCoder {
 public:
  virtual ~StreamCoder() = default;

  // Sends a tensor [batch, rows, channels] on the CPU; batch items are pictures of one grid.
  virtual Result<PassedTensor> pass(const Tensor& tensor, const codec::StepContext& context) = 0;
};

// What comes back from the other side.
enum class ReturnPath {
  kVelocity,  // the stream "velocity"
  kStates,    // states again, as large as those that were sent; what they lose on the way is not modelled
};

class StateCoder {
 public:
  virtual ~StateCoder() = default;

  virtual Result<std::unique_ptr<StreamCoder>> open(const StreamPlace& place) const = 0;
  virtual ReturnPath return_path() const { return ReturnPath::kVelocity; }

  // How it sends latents that do not follow from the velocity; null: exactly.
  virtual Result<std::unique_ptr<StreamCoder>> open_latents() const { return std::unique_ptr<StreamCoder>(); }

  // Whether it keeps from job to job what a first one taught it; then, that there will be no more to learn.
  virtual bool learns() const { return false; }
  virtual void stop_learning() {}

  // What the other side must hold before the first job, or what it got in the one that taught it; sent once.
  virtual std::size_t asset_bytes(const StreamPlace&) const { return 0; }
};

}  // namespace pinion::bench
