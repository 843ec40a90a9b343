#pragma once
// The calibrations of a model's cuts, by cut and stream, with the bytes that they were read from. Immutable
// once filled; copies share what they hold.

#include <filesystem>
#include <map>
#include <memory>

#include "pinion/codec/calibrated/calibration.h"

namespace pinion::codec {

class CalibrationSet {
 public:
  struct Entry {
    std::shared_ptr<const Calibration> calibration;
    std::shared_ptr<const Bytes> asset;
  };

  // The calibrations of a .pnf file. kModelMismatch if one is of another model than `model_hash` (hex; empty:
  // of any model), kBadFormat, kInvalidArgument if there are none; errors name the file.
  static Result<CalibrationSet> open(const std::filesystem::path& path, std::string_view model_hash);

  // Adds an asset, in the place of one of the same cut and stream.
  Result<void> add(ByteSpan asset);

  // Null if there is none.
  const Entry* find(int cut, const std::string& stream) const;
  bool empty() const { return entries_.empty(); }

  // What there is, for people: "image, text and velocity at cut 3; image at cut 5".
  std::string describe() const;

  // Calls visit(cut, stream, entry) for each.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const auto& [place, entry] : entries_) visit(place.first, place.second, entry);
  }

 private:
  Result<void> add_all(ByteSpan file);

  std::map<std::pair<int, std::string>, Entry> entries_;
};

// The hash that names an asset, as hex: the first 16 bytes of its SHA-256.
std::string calibration_id(const Calibration& calibration);

}  // namespace pinion::codec
