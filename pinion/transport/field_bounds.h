#pragma once
// Bounds of the fields of messages, as docs/protocol.md states them.

#include <cstdint>

namespace pinion::transport {

// Inclusive bounds of a number, of the length of a text or of the entries of a list.
struct Bounds {
  std::int64_t min = 0;
  std::int64_t max = 0;
};

}  // namespace pinion::transport
