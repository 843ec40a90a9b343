#include "pinion/base/utf8.h"

#include <cstddef>
#include <cstdint>

namespace pinion {

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<std::uint8_t>(text[at++]);
    if (lead < 0x80) continue;
    // The rest of a sequence, and the least code point that needs one of this length.
    const int rest = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    const std::uint32_t least = rest == 3 ? 0x10000 : rest == 2 ? 0x800 : 0x80;
    if (lead < 0xc0 || lead >= 0xf8) return false;
    std::uint32_t point = lead & (0x3f >> rest);
    for (int i = 0; i < rest; ++i) {
      if (at == text.size() || (static_cast<std::uint8_t>(text[at]) & 0xc0) != 0x80) return false;
      point = point << 6 | (static_cast<std::uint8_t>(text[at++]) & 0x3f);
    }
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
  }
  return true;
}

}  // namespace pinion
