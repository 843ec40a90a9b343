#pragma once
// Whether outside bytes are text. Pure functions.

#include <string_view>

namespace pinion {

// True for well-formed UTF-8: shortest forms only, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

}  // namespace pinion
