#include "pinion/codec/calibrated/calibration_set.h"

#include "pinion/codec/container.h"

namespace pinion::codec {

Result<CalibrationSet> CalibrationSet::from_file(ByteSpan file, std::string_view model_hash) {
  PINION_TRY(const Container container, parse_container(file));
  CalibrationSet set;
  for (const ByteSpan asset : container.calibrations) PINION_TRY_VOID(set.add(asset));
  if (set.empty()) {
    return Error{Errc::kInvalidArgument, "the file holds no calibration", "make one with `pinion calibrate`"};
  }
  for (const auto& [place, entry] : set.entries_) {
    if (to_hex(entry.calibration->key.model) == model_hash) continue;
    return Error{Errc::kModelMismatch,
                 "the calibration is of the model " + to_hex(entry.calibration->key.model).substr(0, 12) +
                     ", not of " + std::string(model_hash.substr(0, 12)),
                 "make one for this model with `pinion calibrate`"};
  }
  return set;
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

std::string calibration_id(const Calibration& calibration) { return to_hex(calibration.id); }

}  // namespace pinion::codec
