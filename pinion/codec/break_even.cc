#include "pinion/codec/break_even.h"

#include <algorithm>
#include <limits>

#include "pinion/base/assert.h"

namespace pinion::codec {

double expected_ms(const CodecTrial& trial, const LinkSpeed& link) {
  return trial.coding_ms() + 1000.0 * static_cast<double>(trial.bytes) / link.bytes_per_s + trial.way_back_ms;
}

double pays_below(const CodecTrial& trial, const CodecTrial& raw) {
  const double saved_bytes = static_cast<double>(raw.bytes) - static_cast<double>(trial.bytes);
  const double more_ms = trial.coding_ms() - raw.coding_ms();
  if (saved_bytes <= 0) return 0;
  if (more_ms <= 0) return std::numeric_limits<double>::infinity();
  return 1000.0 * saved_bytes / more_ms;
}

std::size_t choose_codec(std::span<const CodecTrial> trials, const LinkSpeed& link) {
  PINION_ASSERT(!trials.empty() && trials.front().profile.mode == Mode::kRaw);
  PINION_ASSERT(link.bytes_per_s > 0);
  std::size_t best = 0;
  for (std::size_t i = 1; i < trials.size(); ++i) {
    if (!trials[i].why_not.empty()) continue;
    const double best_ms = expected_ms(trials[best], link);
    const double gain_ms = best_ms - expected_ms(trials[i], link);
    if (gain_ms >= std::max(kWorthwhileGain * best_ms, kWorthwhileGainMs)) best = i;
  }
  return best;
}

}  // namespace pinion::codec
