#include "pinion/base/error.h"

#include <array>
#include <utility>

namespace pinion {
namespace {

constexpr std::array<std::pair<Errc, std::string_view>, 19> kNames{{
    {Errc::kInvalidArgument, "invalid_argument"},
    {Errc::kBadFormat, "bad_format"},
    {Errc::kNeedMoreBytes, "need_more_bytes"},
    {Errc::kTooLarge, "too_large"},
    {Errc::kUnsupported, "unsupported"},
    {Errc::kNotFound, "not_found"},
    {Errc::kIo, "io"},
    {Errc::kUnreachable, "unreachable"},
    {Errc::kConnectionLost, "connection_lost"},
    {Errc::kTimeout, "timeout"},
    {Errc::kNotPaired, "not_paired"},
    {Errc::kCertificate, "certificate"},
    {Errc::kVersionMismatch, "version_mismatch"},
    {Errc::kModelMismatch, "model_mismatch"},
    {Errc::kProtocol, "protocol"},
    {Errc::kBusy, "busy"},
    {Errc::kOutOfMemory, "out_of_memory"},
    {Errc::kCancelled, "cancelled"},
    {Errc::kInternal, "internal"},
}};

}  // namespace

std::string_view name(Errc code) {
  for (const auto& [value, text] : kNames) {
    if (value == code) return text;
  }
  return "internal";
}

Errc errc_from_name(std::string_view wire_name) {
  for (const auto& [value, text] : kNames) {
    if (text == wire_name) return value;
  }
  return Errc::kInternal;
}

bool is_retryable(Errc code) {
  return code == Errc::kConnectionLost || code == Errc::kTimeout || code == Errc::kBusy ||
         code == Errc::kUnreachable;
}

std::string Error::message() const { return hint.empty() ? text : text + " (" + hint + ")"; }

Error Error::in(std::string_view prefix) && {
  text = std::string(prefix) + ": " + text;
  return std::move(*this);
}

}  // namespace pinion
