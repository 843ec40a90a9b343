#pragma once
// OpenSSL's last error as one of ours.

#include "pinion/base/error.h"

namespace pinion::transport {

// kInternal: "what: reason". Empties this thread's queue of OpenSSL errors.
Error openssl_error(std::string what);

}  // namespace pinion::transport
