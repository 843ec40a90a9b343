#pragma once
// What every function of pinion/codec/c/pinion_codec.h does at its border: structs that know their size,
// failures as statuses. Pure functions; nothing is kept.

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "pinion/base/bytes.h"
#include "pinion/base/result.h"
#include "pinion/codec/c/pinion_codec.h"

namespace pinion::codec {

inline Error wrong_call(const std::string& what) { return Error{Errc::kInvalidArgument, what, ""}; }

inline pinion_status status_of(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return PINION_INVALID_ARGUMENT;
    case Errc::kBadFormat:
      return PINION_BAD_FORMAT;
    case Errc::kNeedMoreBytes:
      return PINION_NEED_MORE_BYTES;
    case Errc::kTooLarge:
      return PINION_TOO_LARGE;
    case Errc::kUnsupported:
      return PINION_UNSUPPORTED;
    case Errc::kNotFound:
      return PINION_NOT_FOUND;
    case Errc::kOutOfMemory:
      return PINION_OUT_OF_MEMORY;
    default:
      return PINION_INTERNAL;
  }
}

template <std::size_t kSize>
void put_text(std::string_view from, char (&to)[kSize]) noexcept {
  const std::size_t size = std::min(from.size(), kSize - 1);
  std::copy_n(from.begin(), size, to);
  std::fill(to + size, to + kSize, '\0');
}

// Replaces what the caller's struct holds, and keeps its size. A larger one of a later version gets zeros
// there.
template <class Struct>
void store(const Struct& value, Struct* to) noexcept {
  const std::size_t size = to->struct_bytes;
  std::memcpy(to, &value, sizeof(Struct));
  std::memset(reinterpret_cast<char*>(to) + sizeof(Struct), 0, size - sizeof(Struct));
  to->struct_bytes = size;
}

template <class Struct>
Result<void> check_output(const Struct* to, const char* what) {
  if (to == nullptr) return wrong_call(std::string(what) + " is NULL");
  if (to->struct_bytes >= sizeof(Struct)) return {};
  return wrong_call(std::string(what) + ".struct_bytes is " + std::to_string(to->struct_bytes) + ", not " +
                    std::to_string(sizeof(Struct)));
}

template <class Struct>
Result<void> check_input(const Struct* from, const char* what) {
  PINION_TRY_VOID(check_output(from, what));
  const auto* const bytes = reinterpret_cast<const char*>(from);
  if (std::all_of(bytes + sizeof(Struct), bytes + from->struct_bytes, [](char byte) { return byte == 0; }))
    return {};
  return Error{Errc::kUnsupported, std::string(what) + " asks for what this version does not know",
               "use a newer library"};
}

// Takes no memory, since there may be none.
inline pinion_status report(pinion_status status, std::string_view text, std::string_view hint,
                            pinion_error* error) noexcept {
  if (error == nullptr || error->struct_bytes < sizeof(pinion_error)) return status;
  pinion_error value{};
  value.status = status;
  put_text(text, value.text);
  put_text(hint, value.hint);
  store(value, error);
  return status;
}

// Runs what returns a Result<void>; nothing that it throws gets out.
template <class Body>
pinion_status guarded(pinion_error* error, const Body& body) noexcept {
  try {
    const Result<void> done = body();
    if (done.ok()) return report(PINION_OK, "", "", error);
    return report(status_of(done.error().code), done.error().text, done.error().hint, error);
  } catch (const std::bad_alloc&) {
    return report(PINION_OUT_OF_MEMORY, "memory is exhausted", "free the handle", error);
  } catch (const std::exception& failure) {
    return report(PINION_INTERNAL, failure.what(), "free the handle", error);
  }
}

inline Result<ByteSpan> span_of(const void* data, std::size_t size, const char* what) {
  if (data == nullptr && size > 0) return wrong_call(std::string(what) + " is NULL");
  return ByteSpan(static_cast<const std::byte*>(data), size);
}

}  // namespace pinion::codec
