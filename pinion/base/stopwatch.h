#pragma once
// Elapsed wall time in milliseconds, from the steady clock.

#include <chrono>

namespace pinion {

class Stopwatch {
 public:
  double elapsed_ms() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  }
  // Elapsed time since construction or the last lap.
  double lap_ms() {
    const double elapsed = elapsed_ms();
    start_ = std::chrono::steady_clock::now();
    return elapsed;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace pinion
