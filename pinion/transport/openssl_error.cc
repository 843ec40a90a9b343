#include "pinion/transport/openssl_error.h"

#include <openssl/err.h>

namespace pinion::transport {

Error openssl_error(std::string what) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return Error{Errc::kInternal, what + (reason != nullptr ? std::string(": ") + reason : ""), ""};
}

}  // namespace pinion::transport
