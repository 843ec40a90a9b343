#include "bench/planes_rate.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "bench/state_streams.h"
#include "pinion/base/float_formats.h"

namespace pinion::bench {
namespace {

constexpr int kFirstQp = 1;
constexpr int kLastQp = 49;
constexpr int kQpStride = 3;

Result<std::vector<PlaneStep>> code(std::span<const Tensor> steps, const codec::RangePacking& packing, int qp,
                                    PlanePrediction prediction) {
  const int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (prediction == PlanePrediction::kAcrossSteps) return code_as_planes(steps, packing, qp, threads);
  std::vector<PlaneStep> coded;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    PINION_TRY(std::vector<PlaneStep> alone, code_as_planes(steps.subspan(s, 1), packing, qp, threads));
    coded.push_back(std::move(alone.front()));
  }
  return coded;
}

}  // namespace

Result<PlanesRate> PlanesRate::measure(std::span<const Tensor> steps, const codec::RangePacking& packing,
                                       PlanePrediction prediction) {
  PlanesRate rate;
  rate.rungs_.resize(steps.size());
  const auto channels = static_cast<std::size_t>(steps.front().shape()[1]);
  for (int qp = kFirstQp; qp <= kLastQp; qp += kQpStride) {
    PINION_TRY(const std::vector<PlaneStep> coded, code(steps, packing, qp, prediction));
    for (std::size_t s = 0; s < steps.size(); ++s) {
      const double cosine = centred_cosine(floats_of(steps[s]), floats_of(coded[s].decoded), channels);
      rate.rungs_[s].push_back({snr_db_of_cosine(cosine), static_cast<double>(coded[s].bytes)});
    }
  }
  for (std::vector<Rung>& rungs : rate.rungs_) {
    std::sort(rungs.begin(), rungs.end(), [](const Rung& a, const Rung& b) { return a.snr_db < b.snr_db; });
  }
  return rate;
}

std::optional<double> PlanesRate::bytes_at(std::size_t step, double cosine) const {
  const std::vector<Rung>& rungs = rungs_[step];
  const double snr_db = snr_db_of_cosine(cosine);
  const auto above =
      std::find_if(rungs.begin(), rungs.end(), [&](const Rung& rung) { return rung.snr_db >= snr_db; });
  if (above == rungs.begin() || above == rungs.end()) return std::nullopt;
  const Rung& low = *std::prev(above);
  const double part = (snr_db - low.snr_db) / (above->snr_db - low.snr_db);
  return std::exp(std::log(low.bytes) + part * (std::log(above->bytes) - std::log(low.bytes)));
}

}  // namespace pinion::bench
