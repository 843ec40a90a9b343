#pragma once
// Calibrated coding on a CUDA device, measured on a made stream: 512 components, 128 latents, 4608 rows.

#include <memory>
#include <vector>

#include "bench/device_timing.h"
#include "pinion/codec/cuda/device_calibrated_codec.h"

namespace pinion::bench {

// A stream of that many channels whose statistics its calibration knows.
class MadeStream {
 public:
  explicit MadeStream(std::int64_t channels);

  const std::shared_ptr<const codec::Calibration>& calibration() const { return calibration_; }
  // Two states that follow each other, again and again.
  const Tensor& state(std::size_t step) const { return states_[step % 2]; }
  const std::vector<float>& latents(std::size_t step) const { return latents_[step % 2]; }

 private:
  std::shared_ptr<const codec::Calibration> calibration_;
  Tensor states_[2];
  std::vector<float> latents_[2];
};

inline constexpr std::int64_t kMadeRows = 4608;
inline constexpr double kMadeTargetDb = 30;

// The stream's states and latents there.
struct MadeStreamThere {
  explicit MadeStreamThere(const MadeStream& stream);
  ~MadeStreamThere();
  MadeStreamThere(const MadeStreamThere&) = delete;
  MadeStreamThere& operator=(const MadeStreamThere&) = delete;

  // Step 0 begins a job.
  codec::DeviceStepContext context(std::size_t step) const;

  OnDevice states[2];
  float* latents[2] = {};
};

bool run_calibrated(std::int64_t channels, const Setting& setting, cudaStream_t stream);

}  // namespace pinion::bench
