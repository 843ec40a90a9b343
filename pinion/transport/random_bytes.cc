#include "pinion/transport/random_bytes.h"

#include <openssl/rand.h>

namespace pinion::transport {

Result<Bytes> random_bytes(std::size_t count) {
  Bytes bytes(count);
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) == 1) return bytes;
  return Error{Errc::kInternal, "the system's random number generator does not work", ""};
}

}  // namespace pinion::transport
