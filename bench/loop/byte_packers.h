#pragma once
// General-purpose compressors, there and back. Pure functions.

#include "pinion/base/bytes.h"

namespace pinion::bench {

// zstd, level 19.
Result<Bytes> zstd_pack(ByteSpan bytes);
Result<Bytes> zstd_unpack(ByteSpan packed, std::size_t unpacked_bytes);

// zlib's DEFLATE, level 9, in its own wrapper of 6 bytes.
Result<Bytes> deflate_pack(ByteSpan bytes);
Result<Bytes> deflate_unpack(ByteSpan packed, std::size_t unpacked_bytes);

}  // namespace pinion::bench
