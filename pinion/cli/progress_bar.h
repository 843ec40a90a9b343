#pragma once
// A progress bar with the time that is left, on standard error. On a terminal one line is redrawn; elsewhere
// each phase prints a line once. Used by one thread.

#include <string>
#include <string_view>

#include "pinion/base/stopwatch.h"

namespace pinion::cli {

class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `total` 0: a phase whose length is not known.
  void show(std::string_view label, int done, int total);

 private:
  void end_line();
  const bool terminal_;
  bool line_open_ = false;
  std::string label_;
  Stopwatch since_start_of_phase_;
};

}  // namespace pinion::cli
