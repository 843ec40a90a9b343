// The safetensors header parser on arbitrary bytes: whatever it accepts must lie inside the file, match
// dtype and shape, and cover the data exactly once.

#include <cstdint>

#include "pinion/base/assert.h"
#include "pinion/base/safetensors.h"

namespace {

constexpr std::size_t kHeaderLengthBytes = 8;

void check_accepted(const pinion::SafetensorsHeader& header, std::size_t file_bytes) {
  std::size_t covered_to = header.entries.empty() ? file_bytes : header.entries.front().begin;
  for (const pinion::SafetensorsEntry& entry : header.entries) {
    PINION_ASSERT(entry.begin == covered_to && entry.begin >= kHeaderLengthBytes);
    PINION_ASSERT(entry.end >= entry.begin && entry.end <= file_bytes);
    PINION_ASSERT(static_cast<std::size_t>(entry.shape.elements()) * pinion::size_bytes(entry.dtype) ==
                  entry.end - entry.begin);
    covered_to = entry.end;
  }
  PINION_ASSERT(covered_to == file_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const pinion::ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto whole = pinion::parse_safetensors(bytes, size);
  if (whole.ok()) check_accepted(whole.value(), size);

  // A header read ahead of a larger file, as a reader of the first megabyte does it.
  const std::size_t larger_bytes = size + 4096;
  const auto start =
      pinion::parse_safetensors(bytes, larger_bytes, {.max_header_bytes = 4096, .max_tensors = 16});
  if (start.ok()) check_accepted(start.value(), larger_bytes);
  return 0;
}
