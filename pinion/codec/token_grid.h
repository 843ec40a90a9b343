#pragma once
// Tokens as they lie in the picture that they stand for, line by line.

#include <cstddef>

namespace pinion::codec {

struct TokenGrid {
  std::size_t lines = 0;
  std::size_t columns = 0;

  std::size_t tokens() const { return lines * columns; }
  bool operator==(const TokenGrid&) const = default;
};

}  // namespace pinion::codec
