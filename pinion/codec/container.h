#pragma once
// The .pnf file of docs/format.md §8: bases and named frames, in the order in
// which a decoder needs them, or the calibrations of a model's cuts.
//
// Reading trusts nothing; records borrow from the file's bytes. Pure functions.

#include <string>
#include <vector>

#include "pinion/base/bytes.h"

namespace pinion::codec {

struct ContainerFrame {
  std::string name;          // of the tensor
  std::uint64_t stream = 0;  // frames of one stream are decoded in order by one decoder
  ByteSpan frame;
};

struct Container {
  std::vector<ByteSpan> bases;
  std::vector<ByteSpan> calibrations;
  std::vector<ContainerFrame> frames;  // in file order
};

// What a file is made of; the bytes are borrowed.
Bytes write_container(const Container& container);

// Checks the outline and the file's checksum, not the frames and assets
// themselves.
Result<Container> parse_container(ByteSpan file);

}  // namespace pinion::codec
