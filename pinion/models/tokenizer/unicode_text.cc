#include "pinion/models/tokenizer/unicode_text.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

namespace pinion::models {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Decoded {
  std::size_t bytes = 1;  // of the character, or of the maximal part of one that is ill-formed
  bool well_formed = false;
};

// Table 3-7 of the Unicode standard: which second bytes a lead byte allows, and how many bytes follow.
struct LeadByte {
  std::size_t bytes = 0;  // 0: not a lead byte
  unsigned second_min = 0x80;
  unsigned second_max = 0xBF;
};

LeadByte lead_byte(unsigned byte) {
  if (byte < 0x80) return {1};
  if (byte >= 0xC2 && byte <= 0xDF) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

Decoded decode(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
  const LeadByte lead = lead_byte(at(0));
  if (lead.bytes <= 1) return {1, lead.bytes == 1};
  if (text.size() < 2 || at(1) < lead.second_min || at(1) > lead.second_max) return {1, false};
  for (std::size_t i = 2; i < lead.bytes; ++i) {
    if (i >= text.size() || (at(i) & 0xC0) != 0x80) return {i, false};
  }
  return {lead.bytes, true};
}

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

std::string repaired_utf8(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  while (!text.empty()) {
    const Decoded next = decode(text);
    repaired.append(next.well_formed ? text.substr(0, next.bytes) : kReplacement);
    text.remove_prefix(next.bytes);
  }
  return repaired;
}

std::size_t first_character_bytes(std::string_view text) {
  if (text.empty()) return 0;
  std::size_t bytes = 1;
  while (bytes < text.size() && is_continuation(text[bytes])) ++bytes;
  return bytes;
}

std::size_t last_character_bytes(std::string_view text) {
  if (text.empty()) return 0;
  std::size_t bytes = 1;
  while (bytes < text.size() && is_continuation(text[text.size() - bytes])) ++bytes;
  return bytes;
}

bool is_white_space(std::string_view character) {
  utf8proc_int32_t code = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(character.data()),
                   static_cast<utf8proc_ssize_t>(character.size()), &code);
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

Result<std::string> to_nfc(std::string_view text) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t bytes = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &mapped, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(mapped, std::free);
  if (bytes < 0) {
    return Error{bytes == UTF8PROC_ERROR_NOMEM ? Errc::kOutOfMemory : Errc::kInternal,
                 std::string("cannot normalise the text: ") + utf8proc_errmsg(bytes), ""};
  }
  return std::string(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(bytes));
}

}  // namespace pinion::models
