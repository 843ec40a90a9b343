#include "bench/loop/byte_packers.h"

#include <zlib.h>
#include <zstd.h>

namespace pinion::bench {
namespace {

constexpr int kZstdLevel = 19;
constexpr int kDeflateLevel = 9;

Error broken(const char* what) { return Error{Errc::kInternal, std::string(what) + " failed", ""}; }

const Bytef* zlib_bytes(ByteSpan bytes) { return reinterpret_cast<const Bytef*>(bytes.data()); }

}  // namespace

Result<Bytes> zstd_pack(ByteSpan bytes) {
  Bytes packed(ZSTD_compressBound(bytes.size()));
  const std::size_t size =
      ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), kZstdLevel);
  if (ZSTD_isError(size)) return broken("zstd");
  packed.resize(size);
  return packed;
}

Result<Bytes> zstd_unpack(ByteSpan packed, std::size_t unpacked_bytes) {
  Bytes bytes(unpacked_bytes);
  const std::size_t size = ZSTD_decompress(bytes.data(), bytes.size(), packed.data(), packed.size());
  if (ZSTD_isError(size) || size != unpacked_bytes) return broken("zstd's decoder");
  return bytes;
}

Result<Bytes> deflate_pack(ByteSpan bytes) {
  uLongf size = compressBound(bytes.size());
  Bytes packed(size);
  if (compress2(reinterpret_cast<Bytef*>(packed.data()), &size, zlib_bytes(bytes), bytes.size(),
                kDeflateLevel) != Z_OK) {
    return broken("zlib");
  }
  packed.resize(size);
  return packed;
}

Result<Bytes> deflate_unpack(ByteSpan packed, std::size_t unpacked_bytes) {
  Bytes bytes(unpacked_bytes);
  uLongf size = unpacked_bytes;
  if (uncompress(reinterpret_cast<Bytef*>(bytes.data()), &size, zlib_bytes(packed), packed.size()) != Z_OK ||
      size != unpacked_bytes) {
    return broken("zlib's decoder");
  }
  return bytes;
}

}  // namespace pinion::bench
