#include "pinion/transport/messages.h"

namespace pinion::transport {
namespace {

std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

}  // namespace

ErrorMessage ErrorMessage::of(const Error& error) {
  ErrorMessage message;
  message.code = std::string(name(error.code));
  message.text = error.text;
  message.hint = error.hint;
  message.retryable = is_retryable(error.code);
  return message;
}

Error ErrorMessage::to_error() const { return Error{errc_from_name(code), printable(text), printable(hint)}; }

}  // namespace pinion::transport
