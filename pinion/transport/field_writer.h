#pragma once
// The writing half of fields.h: takes a struct's `fields(visitor)` into a message header. Used by one thread
// at a time.

#include <concepts>
#include <optional>
#include <string>

#include "pinion/transport/field_bounds.h"
#include "pinion/transport/message.h"

namespace pinion::transport {

class FieldWriter {
 public:
  explicit FieldWriter(Json& object) : object_(&object) {}

  template <std::integral T>
  void integer(const char* key, T& value, Bounds) {
    // Whole numbers that are not negative are written as unsigned, as CBOR has it.
    if (value >= 0) {
      (*object_)[key] = static_cast<std::uint64_t>(value);
    } else {
      (*object_)[key] = static_cast<std::int64_t>(value);
    }
  }
  template <std::floating_point T>
  void number(const char* key, T& value) {
    (*object_)[key] = value;
  }
  void text(const char* key, std::string& value, Bounds length);  // cut to the bound
  void hex(const char* key, std::string& value, std::size_t) { (*object_)[key] = value; }
  void boolean(const char* key, bool& value) { (*object_)[key] = value; }
  void blob(const char* key, std::uint32_t& index) { (*object_)[key] = index; }

  template <class T, class... Args>
  void maybe_integer(const char* key, std::optional<T>& value, Args... args) {
    if (value) integer(key, *value, args...);
  }
  void maybe_true(const char* key, bool& value) {
    if (value) boolean(key, value);
  }
  void maybe_text(const char* key, std::optional<std::string>& value, Bounds length) {
    if (value) text(key, *value, length);
  }
  void maybe_hex(const char* key, std::optional<std::string>& value, std::size_t) {
    if (value) (*object_)[key] = *value;
  }
  void maybe_blob(const char* key, std::optional<std::uint32_t>& index) {
    if (index) (*object_)[key] = *index;
  }
  template <class T>
  void maybe_maps(const char* key, std::vector<T>& values, Bounds count) {
    if (!values.empty()) maps(key, values, count);
  }
  void maybe_hexes(const char* key, std::vector<std::string>& values, Bounds, std::size_t) {
    if (!values.empty()) (*object_)[key] = values;
  }
  template <class T>
  void maybe_map(const char* key, std::optional<T>& value) {
    if (value) map(key, *value);
  }

  template <class T>
  void map(const char* key, T& value) {
    write_map((*object_)[key], value);
  }
  template <class T>
  void maps(const char* key, std::vector<T>& values, Bounds) {
    Json& list = (*object_)[key] = Json::array();
    for (T& value : values) write_map(list.emplace_back(), value);
  }
  template <std::floating_point T>
  void numbers(const char* key, std::vector<T>& values, Bounds) {
    (*object_)[key] = values;
  }
  void texts(const char* key, std::vector<std::string>& values, Bounds, Bounds) { (*object_)[key] = values; }
  void pairs(const char* key, std::vector<std::pair<std::int64_t, std::int64_t>>& values, Bounds, Bounds) {
    (*object_)[key] = values;
  }

 private:
  template <class T>
  void write_map(Json& slot, T& value) {
    slot = Json::object();
    FieldWriter(slot).visit(value);
  }
  template <class T>
  void visit(T& value) {
    value.fields(*this);
  }

  Json* object_;
};

}  // namespace pinion::transport
