#include "pinion/cli/codec_sequence.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace pinion::cli {
namespace {

struct SplitName {
  std::string stream;
  long step = 0;
};

SplitName split_name(const std::string& name) {
  const std::size_t dot = name.rfind(".t");
  if (dot == std::string::npos || dot == 0) return {name, 0};
  long step = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + dot + 2, end, step);
  if (error != std::errc{} || stop != end || step < 0) return {name, 0};
  return {name.substr(0, dot), step};
}

}  // namespace

std::vector<TensorStream> group_streams(const SafetensorsFile& file, bool sequences) {
  std::map<std::string, std::vector<std::pair<long, const SafetensorsEntry*>>> by_name;
  for (const SafetensorsEntry& entry : file.header().entries) {
    const SplitName split = sequences ? split_name(entry.name) : SplitName{entry.name, 0};
    by_name[split.stream].emplace_back(split.step, &entry);
  }
  std::vector<TensorStream> streams;
  for (auto& [name, steps] : by_name) {
    std::stable_sort(steps.begin(), steps.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    TensorStream stream{name, {}};
    for (const auto& [step, entry] : steps) stream.tensors.push_back(entry);
    streams.push_back(std::move(stream));
  }
  return streams;
}

}  // namespace pinion::cli
