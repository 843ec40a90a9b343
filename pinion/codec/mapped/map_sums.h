#pragma once
// What an encoder has seen of latents and the states that they began: sums over the first frames of streams,
// of this job and of earlier ones, that a map is fitted to. They fade, so that they are about the last few
// hundred frames. Kept in a file of the sender's own; nobody else reads it.

#include <span>

#include "pinion/base/bytes.h"
#include "pinion/base/result.h"
#include "pinion/codec/math/matrix.h"

namespace pinion::codec {

inline constexpr std::size_t kMostMapLatents = 1024;  // of maps that are made here

class MapSums {
 public:
  MapSums() = default;
  MapSums(std::size_t latents, std::size_t channels) : gram_(latents, latents), cross_(latents, channels) {}

  std::size_t latents() const { return cross_.rows; }
  std::size_t channels() const { return cross_.columns; }
  double rows() const { return rows_; }  // by what is left of them

  // Rows of a frame: latents [rows, L] about their means, and the states [rows, d]. A frame whose latents
  // vary a hundred times as much as those of the sums, or a hundredth, is not added: the sums count half from
  // then on, and where that is fewer rows than the frame has, they were the odd ones, and it takes their
  // place. One that overflows changes nothing.
  void add(const Matrix& latents, const Matrix& states);

  // The map that fits best, [L, d]; empty if the latents hardly vary.
  Matrix fit() const;

  Bytes write() const;
  // kBadFormat: they are damaged.
  static Result<MapSums> read(ByteSpan file);

 private:
  double variance() const;  // of a latent, on average
  void fade(double share);

  double rows_ = 0;
  Matrix gram_;   // [L, L]
  Matrix cross_;  // [L, d]
};

}  // namespace pinion::codec
