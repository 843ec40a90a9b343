#include "pinion/pipeline/placement.h"

#include <charconv>
#include <string>

namespace pinion::pipeline {
namespace {

Error bad_cut(std::string text) {
  return Error{Errc::kInvalidArgument, "--cut " + std::move(text),
               "give one block index per --worker, such as --cut 3, or all or auto"};
}

Result<std::vector<int>> parse_cuts(std::string_view text) {
  std::vector<int> cuts;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  while (true) {
    int value = 0;
    const auto [next, failure] = std::from_chars(at, end, value);
    if (failure != std::errc{}) return bad_cut("'" + std::string(text) + "' is not a list of block indices");
    cuts.push_back(value);
    if (next == end) return cuts;
    if (*next != ',') return bad_cut("'" + std::string(text) + "' is not a list of block indices");
    at = next + 1;
  }
}

}  // namespace

Result<Placement> place(std::string_view cut, int block_count, int worker_count) {
  if (cut == "all" || (cut == "auto" && worker_count == 0)) {
    if (worker_count > 0) return bad_cut("all keeps every block here, but a --worker is named");
    return Placement{.local = {0, block_count}, .remote = {}};
  }
  std::vector<int> cuts;
  if (cut == "auto") {
    for (int i = 0; i < worker_count; ++i) cuts.push_back(block_count * i / worker_count);
  } else {
    PINION_TRY(cuts, parse_cuts(cut));
  }
  if (static_cast<int>(cuts.size()) != worker_count) {
    return bad_cut("names " + std::to_string(cuts.size()) + " cuts for " + std::to_string(worker_count) +
                   " workers");
  }
  Placement placement{.local = {0, cuts.front()}, .remote = {}};
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    const int end = i + 1 < cuts.size() ? cuts[i + 1] : block_count;
    if (cuts[i] < 0 || cuts[i] >= block_count) {
      return bad_cut(std::to_string(cuts[i]) + " is outside this model's blocks 0 to " +
                     std::to_string(block_count - 1));
    }
    if (cuts[i] >= end)
      return bad_cut("indices must rise, but " + std::to_string(cuts[i]) + " is followed by " +
                     std::to_string(end));
    placement.remote.push_back({cuts[i], end});
  }
  return placement;
}

}  // namespace pinion::pipeline
