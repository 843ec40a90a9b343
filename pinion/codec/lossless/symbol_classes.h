#pragma once
// Which class each element of a plane belongs to, chunk by chunk. Reading is thread-safe.

#include "pinion/codec/lossless/byte_planes.h"

namespace pinion::codec {

class SymbolClasses {
 public:
  // `coding` outlives this; no more than `chunk_elements` are asked for at once.
  SymbolClasses(const PlaneCoding& coding, std::int64_t channels, std::int64_t chunk_elements);

  // Of elements `begin` to `begin + count`, whose contexts these are (null if there are none); null if
  // there is one class. `scratch` has room for `count` bytes and may be what is returned.
  const std::uint8_t* at(std::int64_t begin, std::size_t count, const std::uint8_t* contexts,
                         std::uint8_t* scratch) const;

 private:
  const PlaneCoding& coding_;
  std::vector<std::uint8_t> ring_;  // by channel, over and over, so that a chunk may begin at any channel
};

}  // namespace pinion::codec
