#pragma once
// How many bytes a state costs as video planes at a given cosine: a ladder of QPs, and what lies between its
// rungs. Built for one stream, then read; reading is thread-safe.

#include <optional>
#include <span>
#include <vector>

#include "bench/coded_planes.h"

namespace pinion::bench {

// Which pictures may predict from which.
enum class PlanePrediction {
  kWithinStep,   // each step is an encode of its own, as in the systems that split models this way
  kAcrossSteps,  // all steps are one encode: more than those systems do
};

class PlanesRate {
 public:
  // Codes the stream at every QP of the ladder.
  static Result<PlanesRate> measure(std::span<const Tensor> steps, const codec::RangePacking& packing,
                                    PlanePrediction prediction);

  // Bytes of a step at that centred cosine: between the neighbouring rungs, log(bytes) is taken as linear in
  // the SNR in dB. Empty if the ladder does not reach the cosine from both sides.
  std::optional<double> bytes_at(std::size_t step, double cosine) const;

 private:
  struct Rung {
    double snr_db;
    double bytes;
  };
  std::vector<std::vector<Rung>> rungs_;  // per step, by rising SNR
};

}  // namespace pinion::bench
