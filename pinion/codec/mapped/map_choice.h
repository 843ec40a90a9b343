#pragma once
// Whether a stream of mode 2 is coded about what a map makes of the latents, and by which map: one that is
// kept from earlier jobs, or a new one, fitted to the first frames of all streams so far.
//
// Keeps the encoder's side of a stream. Used by one thread at a time.

#include <memory>

#include "pinion/codec/centred_tensor.h"
#include "pinion/codec/mapped/latent_map.h"
#include "pinion/codec/mapped/map_sums.h"

namespace pinion::codec {

struct MapFit {
  std::shared_ptr<const Basis> map;
  Bytes asset;  // as it is sent
};

struct MapProblem {
  const CentredTensor& centred;
  std::span<const float> latents;  // [rows, L], finite
  double target_error = 0;         // mean squared error of a row that is allowed
  bool current_is_held = false;    // whether the receiver holds the current map, which is sent otherwise
};

class MapChooser {
 public:
  // Looks for the map of the frames that follow, where a stream begins, and adds it to the sums. None is left
  // if none pays.
  void choose(const MapProblem& problem);

  // kBadFormat: a broken asset.
  Result<void> offer(ByteSpan asset);

  // kBadFormat: damaged sums.
  Result<void> offer_sums(ByteSpan file);
  // Those of all streams so far; empty before the first.
  Bytes sums() const { return sums_.rows() > 0 ? sums_.write() : Bytes(); }

  // Null: none. It stays the same until the next choose().
  const MapFit* current() const { return current_ ? &*current_ : nullptr; }

 private:
  MapSums sums_;
  std::optional<MapFit> current_;
};

}  // namespace pinion::codec
