#pragma once
// Groups the channels of a byte plane into classes that share a probability
// table, where that pays.

#include <cstdint>
#include <span>
#include <vector>

#include "pinion/codec/entropy/rans.h"

namespace pinion::codec {

struct PlaneClasses {
  std::vector<std::uint8_t> class_of_channel;  // empty if there is one class
  std::vector<Frequencies> tables;
  double coded_bits = 0;  // what the plane will take with its tables, without lane states
};

// `plane` holds one byte per element, rows of `channels` bytes each; not empty.
PlaneClasses choose_classes(std::span<const std::uint8_t> plane, std::size_t channels);

}  // namespace pinion::codec
