#pragma once
// The little of Unicode that tokenizing needs outside the split pattern. Pure functions.

#include <cstddef>
#include <string>
#include <string_view>

#include "pinion/base/result.h"

namespace pinion::models {

// Text of unknown origin as well-formed UTF-8: every maximal ill-formed part becomes one U+FFFD, as the
// Unicode standard recommends (§3.9) and as Python's errors="replace" does.
std::string repaired_utf8(std::string_view text);

// The functions below take well-formed UTF-8.

std::size_t first_character_bytes(std::string_view text);  // 0 for an empty text
std::size_t last_character_bytes(std::string_view text);

// One character. White_Space of Unicode.
bool is_white_space(std::string_view character);

// Normalisation form C. kOutOfMemory is the only way to fail.
Result<std::string> to_nfc(std::string_view text);

}  // namespace pinion::models
