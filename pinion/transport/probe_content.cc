#include "pinion/transport/probe_content.h"

#include <cstring>
#include <random>

#include "pinion/base/assert.h"

namespace pinion::transport {
namespace {

Bytes noise() {
  Bytes content(kMostProbeBytes);
  std::mt19937_64 random;
  for (std::size_t i = 0; i < content.size(); i += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(content.data() + i, &word, sizeof(word));
  }
  return content;
}

}  // namespace

Blob probe_content(std::size_t size) {
  PINION_ASSERT(size <= kMostProbeBytes);
  static const Blob content = Blob::of(noise());
  return {content.owner, content.bytes.first(size)};
}

}  // namespace pinion::transport
