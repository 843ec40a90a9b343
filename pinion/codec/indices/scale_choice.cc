#include "pinion/codec/indices/scale_choice.h"

#include <limits>

#include "pinion/codec/entropy/bit_stream.h"

namespace pinion::codec {
namespace {

constexpr int kRiceParameters = 4;

float difference_bits(int from, int to, int low_bits) {
  return static_cast<float>((zigzag(to - from) >> low_bits) + 1 + static_cast<std::uint32_t>(low_bits));
}

ScaleChoice from_last(std::span<const ScaleWindow> windows, std::span<const std::uint8_t> last,
                      int low_bits) {
  ScaleChoice choice;
  for (std::size_t k = 0; k < windows.size(); ++k) {
    const int from = k < last.size() ? last[k] : 0;
    float least = std::numeric_limits<float>::infinity();
    int best = 0;
    for (int i = 0; i < windows[k].count; ++i) {
      const int scale = windows[k].first + i;
      const float bits =
          windows[k].bits[static_cast<std::size_t>(i)] + difference_bits(from, scale, low_bits);
      if (bits < least) least = bits, best = scale;
    }
    choice.scales.push_back(static_cast<std::uint8_t>(best));
    choice.bits += least;
  }
  return choice;
}

// The cheapest path through the windows (Viterbi).
ScaleChoice from_left(std::span<const ScaleWindow> windows, int low_bits) {
  using Costs = std::array<double, ScaleWindow::kMaxScales>;
  std::vector<std::array<std::uint8_t, ScaleWindow::kMaxScales>> came_from(windows.size());
  ScaleWindow before{.first = 0, .count = 1};
  Costs costs{};
  for (std::size_t k = 0; k < windows.size(); ++k) {
    const ScaleWindow& window = windows[k];
    Costs next{};
    for (int i = 0; i < window.count; ++i) {
      double least = std::numeric_limits<double>::infinity();
      for (int j = 0; j < before.count; ++j) {
        const double bits =
            costs[static_cast<std::size_t>(j)] +
            static_cast<double>(difference_bits(before.first + j, window.first + i, low_bits));
        if (bits < least) {
          least = bits;
          came_from[k][static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(j);
        }
      }
      next[static_cast<std::size_t>(i)] =
          least + static_cast<double>(window.bits[static_cast<std::size_t>(i)]);
    }
    costs = next;
    before = window;
  }
  ScaleChoice choice;
  choice.bits = std::numeric_limits<double>::infinity();
  std::size_t place = 0;
  for (int i = 0; i < before.count; ++i) {
    if (costs[static_cast<std::size_t>(i)] < choice.bits) {
      choice.bits = costs[static_cast<std::size_t>(i)];
      place = static_cast<std::size_t>(i);
    }
  }
  choice.scales.resize(windows.size());
  for (std::size_t k = windows.size(); k-- > 0;) {
    choice.scales[k] = static_cast<std::uint8_t>(windows[k].first + static_cast<int>(place));
    place = came_from[k][place];
  }
  return choice;
}

}  // namespace

ScaleChoice choose_scales(std::span<const ScaleWindow> windows, std::span<const std::uint8_t> last) {
  ScaleChoice best;
  best.bits = std::numeric_limits<double>::infinity();
  for (int low_bits = 0; low_bits < kRiceParameters; ++low_bits) {
    if (ScaleChoice choice = from_left(windows, low_bits); choice.bits < best.bits) best = std::move(choice);
    if (last.empty()) continue;
    if (ScaleChoice choice = from_last(windows, last, low_bits); choice.bits < best.bits)
      best = std::move(choice);
  }
  return best;
}

}  // namespace pinion::codec
