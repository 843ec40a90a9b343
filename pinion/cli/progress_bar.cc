#include "pinion/cli/progress_bar.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

namespace pinion::cli {
namespace {

constexpr int kBarCells = 28;

std::string clock_text(double seconds) {
  const int whole = static_cast<int>(seconds + 0.5);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

ProgressBar::ProgressBar() : terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressBar::~ProgressBar() { end_line(); }

void ProgressBar::end_line() {
  if (line_open_) fmt::print(stderr, "\n");
  line_open_ = false;
}

void ProgressBar::show(std::string_view label, int done, int total) {
  const bool new_phase = label != label_;
  if (new_phase) {
    end_line();
    label_ = label;
    since_start_of_phase_ = Stopwatch();
  }
  const double elapsed = since_start_of_phase_.elapsed_ms() / 1000;
  if (!terminal_) {
    if (new_phase) fmt::print(stderr, "{} ...\n", label);
    if (total > 0 && done == total)
      fmt::print(stderr, "{}: {} of {} in {:.1f} s\n", label, done, total, elapsed);
    return;
  }
  if (total == 0) {
    fmt::print(stderr, "\r\033[K{} ...", label);
  } else {
    const int filled = kBarCells * done / total;
    const std::string left = done == 0 ? "" : ", " + clock_text(elapsed / done * (total - done)) + " left";
    fmt::print(stderr, "\r\033[K{} [{:#<{}}{:.<{}}] {}/{}  {}{}", label, "", filled, "", kBarCells - filled,
               done, total, clock_text(elapsed), done == total ? "" : left);
  }
  std::fflush(stderr);
  line_open_ = true;
}

}  // namespace pinion::cli
