#include "pinion/cli/codec_sequence.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

namespace pinion::cli {
namespace {

// The whole text as a number of 0 or more.
template <class Number>
std::optional<Number> to_number(std::string_view text) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (text.empty() || error != std::errc{} || stop != end || number < 0) return std::nullopt;
  return number;
}

// Fills in what the stream's name says: "cut3.image", or "velocity".
void read_place(const std::string& stream_name, TensorStream& stream) {
  constexpr std::string_view kCut = "cut";
  const std::size_t dot = stream_name.find('.');
  if (dot != std::string::npos && stream_name.starts_with(kCut)) {
    stream.cut = to_number<int>(std::string_view(stream_name).substr(kCut.size(), dot - kCut.size()));
  }
  stream.kind = stream.cut ? stream_name.substr(dot + 1) : stream_name;
}

bool is_meant(const TensorStream& stream, const StreamChoice& choice) {
  if (choice.leaves_context && (stream.kind == "latents" || stream.kind == "sigmas")) return false;
  if (choice.cut && stream.cut && *stream.cut != *choice.cut) return false;
  return choice.kind.empty() || stream.kind == choice.kind;
}

Error nothing_left(const SafetensorsFile& file) {
  std::set<std::string> names;
  for (const SafetensorsEntry& entry : file.header().entries) names.insert(split_step(entry.name).stream);
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return Error{Errc::kInvalidArgument,
               file.path().string() + " has no tensors to code for these options; it has " +
                   (all.empty() ? "none at all" : all),
               "--cut N means tensors named cutN.STREAM.tSTEP, --stream NAME those of that stream"};
}

}  // namespace

StepName split_step(const std::string& name) {
  const std::size_t dot = name.rfind(".t");
  if (dot == std::string::npos || dot == 0) return {name, std::nullopt};
  const auto step = to_number<long>(std::string_view(name).substr(dot + 2));
  if (!step) return {name, std::nullopt};
  return {name.substr(0, dot), step};
}

Result<std::vector<TensorStream>> choose_streams(const SafetensorsFile& file, const StreamChoice& choice) {
  std::map<std::string, std::vector<std::pair<long, const SafetensorsEntry*>>> by_name;
  for (const SafetensorsEntry& entry : file.header().entries) {
    const StepName split = split_step(entry.name);
    by_name[choice.sequences ? split.stream : entry.name].emplace_back(split.step.value_or(0), &entry);
  }
  std::vector<TensorStream> streams;
  bool names_cuts = false, has_cut = false;
  for (auto& [name, steps] : by_name) {
    std::stable_sort(steps.begin(), steps.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    TensorStream stream{name, {}, {}, {}};
    read_place(split_step(name).stream, stream);
    names_cuts |= stream.cut.has_value();
    has_cut |= choice.cut && stream.cut == choice.cut;
    if (!is_meant(stream, choice)) continue;
    if (!stream.cut) stream.cut = choice.cut;
    for (const auto& [step, entry] : steps) stream.tensors.push_back(entry);
    streams.push_back(std::move(stream));
  }
  if (streams.empty() || (choice.cut && names_cuts && !has_cut)) return nothing_left(file);
  return streams;
}

}  // namespace pinion::cli
