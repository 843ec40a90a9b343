#pragma once
// Unpredictable bytes, for secrets and names that nobody may guess. Thread-safe.

#include "pinion/base/bytes.h"

namespace pinion::transport {

// kInternal if the system's generator does not work.
Result<Bytes> random_bytes(std::size_t count);

}  // namespace pinion::transport
