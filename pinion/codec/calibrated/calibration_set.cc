#include "pinion/codec/calibrated/calibration_set.h"

#include "pinion/base/file_io.h"
#include "pinion/codec/container.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{4} << 30;

}  // namespace

Result<CalibrationSet> CalibrationSet::open(const std::filesystem::path& path, std::string_view model_hash) {
  PINION_TRY(const Bytes file, read_file(path, kMaxFileBytes));
  CalibrationSet set;
  Result<void> added = set.add_all(file);
  if (!added.ok()) return std::move(added).error().in(path.string());
  if (set.empty()) {
    return Error{Errc::kInvalidArgument, path.string() + " holds no calibration",
                 "make one with `pinion calibrate`"};
  }
  for (const auto& [place, entry] : set.entries_) {
    if (model_hash.empty() || to_hex(entry.calibration->key.model) == model_hash) continue;
    return Error{Errc::kModelMismatch,
                 path.string() + ": the calibration is of the model " +
                     to_hex(entry.calibration->key.model).substr(0, 12) + ", not of " +
                     std::string(model_hash.substr(0, 12)),
                 "make one for this model with `pinion calibrate`"};
  }
  return set;
}

Result<void> CalibrationSet::add_all(ByteSpan file) {
  PINION_TRY(const Container container, parse_container(file));
  for (const ByteSpan asset : container.calibrations) PINION_TRY_VOID(add(asset));
  return {};
}

Result<void> CalibrationSet::add(ByteSpan asset) {
  PINION_TRY(auto calibration, parse_calibration(asset));
  const std::pair<int, std::string> place{static_cast<int>(calibration->key.cut), calibration->key.stream};
  entries_[place] = {std::move(calibration), std::make_shared<const Bytes>(asset.begin(), asset.end())};
  return {};
}

const CalibrationSet::Entry* CalibrationSet::find(int cut, const std::string& stream) const {
  const auto found = entries_.find({cut, stream});
  return found == entries_.end() ? nullptr : &found->second;
}

std::string CalibrationSet::describe() const {
  std::map<int, std::vector<std::string>> streams;  // by cut
  for (const auto& [place, entry] : entries_) streams[place.first].push_back(place.second);
  std::string text;
  for (const auto& [cut, names] : streams) {
    if (!text.empty()) text += "; ";
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (i > 0) text += i + 1 == names.size() ? " and " : ", ";
      text += names[i];
    }
    text += " at cut " + std::to_string(cut);
  }
  return text.empty() ? "nothing" : text;
}

std::string calibration_id(const Calibration& calibration) { return to_hex(calibration.id); }

}  // namespace pinion::codec
