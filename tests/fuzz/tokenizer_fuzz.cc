// tokenizer.json and the text it cuts, both hostile: the file up to the first byte 0xFF (which no JSON
// holds), the text after it. Errors are fine; what must not happen is a fault, or a token that the file does
// not have.

#include <cstdint>
#include <string_view>

#include "pinion/base/assert.h"
#include "pinion/models/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\xFF');
  const auto tokenizer = pinion::models::Tokenizer::parse(input.substr(0, end));
  if (!tokenizer.ok()) return 0;
  const std::string_view text = end == std::string_view::npos ? "It's 12 o'clock\n" : input.substr(end + 1);
  const auto tokens = tokenizer->encode(text, {.add_special_tokens = false});
  if (!tokens.ok()) return 0;
  for (const pinion::models::TokenId id : tokens->ids) PINION_ASSERT(id >= 0 && id <= tokenizer->id_limit());
  return 0;
}
