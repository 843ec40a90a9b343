#pragma once
// CRC-32C (Castagnoli, polynomial 0x1edc6f41, reflected, initial and final value all ones): the
// checksum of coded frames. Thread-safe.

#include <cstdint>

#include "pinion/base/bytes.h"

namespace pinion {

// `seed` is the CRC of what came before, 0 at the start: crc32c(ab) == crc32c(b, crc32c(a)).
std::uint32_t crc32c(ByteSpan bytes, std::uint32_t seed = 0);

}  // namespace pinion
