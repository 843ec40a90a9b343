#pragma once
// Message headers as structs. A struct lists its fields once, in `fields(visitor)`, with their bounds; the
// same list reads and writes it, so the two directions cannot drift apart (docs/protocol.md, section 4).
//
// The first field that is missing, of another type or out of bounds makes the reader fail for good; the
// verdict names it. Used by one thread at a time.

#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <string>

#include "pinion/transport/field_writer.h"

namespace pinion::transport {

class FieldReader {
 public:
  explicit FieldReader(const Message& message) : object_(&message.header), blobs_(message.blobs.size()) {}

  template <std::integral T>
  void integer(const char* key, T& value, Bounds bounds) {
    const Json* field = find(key);
    if (field == nullptr) return;
    read_integer(key, *field, value, bounds);
  }
  template <std::floating_point T>
  void number(const char* key, T& value) {  // any finite or infinite number, not NaN
    const Json* field = find(key);
    if (field == nullptr) return;
    read_number(key, *field, value);
  }
  void text(const char* key, std::string& value, Bounds length);
  void hex(const char* key, std::string& value, std::size_t digits);  // lower case
  void boolean(const char* key, bool& value);
  void blob(const char* key, std::uint32_t& index);  // an index in the message's blobs

  // The same for fields that may be absent.
  template <class T, class... Args>
  void maybe_integer(const char* key, std::optional<T>& value, Args... args) {
    if (has(key)) integer(key, value.emplace(), args...);
  }
  void maybe_true(const char* key, bool& value) {
    if (has(key)) boolean(key, value);
  }
  void maybe_text(const char* key, std::optional<std::string>& value, Bounds length) {
    if (has(key)) text(key, value.emplace(), length);
  }
  void maybe_hex(const char* key, std::optional<std::string>& value, std::size_t digits) {
    if (has(key)) hex(key, value.emplace(), digits);
  }
  void maybe_blob(const char* key, std::optional<std::uint32_t>& index) {
    if (has(key)) blob(key, index.emplace());
  }
  template <class T>
  void maybe_maps(const char* key, std::vector<T>& values, Bounds count) {
    if (has(key)) maps(key, values, count);
  }
  void maybe_hexes(const char* key, std::vector<std::string>& values, Bounds count, std::size_t digits);
  template <class T>
  void maybe_map(const char* key, std::optional<T>& value) {
    if (has(key)) map(key, value.emplace());
  }

  template <class T>
  void map(const char* key, T& value) {
    const Json* field = find(key);
    if (field == nullptr) return;
    read_map(key, *field, value);
  }
  template <class T>
  void maps(const char* key, std::vector<T>& values, Bounds count) {
    const Json* field = find_array(key, count);
    if (field == nullptr) return;
    values.resize(field->size());
    for (std::size_t i = 0; i < values.size(); ++i) read_map(key, (*field)[i], values[i]);
  }
  template <std::floating_point T>
  void numbers(const char* key, std::vector<T>& values, Bounds count) {
    const Json* field = find_array(key, count);
    if (field == nullptr) return;
    values.resize(field->size());
    for (std::size_t i = 0; i < values.size(); ++i) read_number(key, (*field)[i], values[i]);
  }
  void texts(const char* key, std::vector<std::string>& values, Bounds count, Bounds length);
  // A list of pairs of integers.
  void pairs(const char* key, std::vector<std::pair<std::int64_t, std::int64_t>>& values, Bounds count,
             Bounds bounds);

  Result<void> verdict() const;

 private:
  const Json* find(const char* key);
  const Json* find_array(const char* key, Bounds count);
  bool has(const char* key) const { return !error_ && object_->contains(key); }
  void fail(const char* key, const std::string& why);

  template <std::integral T>
  void read_integer(const char* key, const Json& field, T& value, Bounds bounds) {
    std::int64_t wide = 0;
    if (!field.is_number_integer() || (field.is_number_unsigned() && field.get<std::uint64_t>() > kMax)) {
      return fail(key, "is not a whole number");
    }
    wide = field.get<std::int64_t>();
    if (wide < bounds.min || wide > bounds.max) {
      return fail(key, "is " + std::to_string(wide) + ", which is not between " + std::to_string(bounds.min) +
                           " and " + std::to_string(bounds.max));
    }
    value = static_cast<T>(wide);
  }
  template <std::floating_point T>
  void read_number(const char* key, const Json& field, T& value) {
    if (!field.is_number()) return fail(key, "is not a number");
    value = static_cast<T>(field.get<double>());
    if (std::isnan(value)) fail(key, "is not a number");
  }
  template <class T>
  void read_map(const char* key, const Json& field, T& value) {
    if (!field.is_object()) return fail(key, "is not a map");
    const Json* outer = object_;
    object_ = &field;
    value.fields(*this);
    object_ = outer;
  }

  static constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  const Json* object_;
  std::size_t blobs_;
  std::optional<Error> error_;
};

// The typed header of a message, or kProtocol naming the field that is wrong.
template <class T>
Result<T> read_header(const Message& message) {
  T header;
  FieldReader reader(message);
  header.fields(reader);
  PINION_TRY_VOID(reader.verdict());
  return header;
}

template <class T>
Message make_message(T header) {
  Message message;
  message.header["type"] = std::string(T::kType);
  FieldWriter writer(message.header);
  header.fields(writer);
  return message;
}

}  // namespace pinion::transport
