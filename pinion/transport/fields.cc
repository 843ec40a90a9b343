#include "pinion/transport/fields.h"

#include <algorithm>

namespace pinion::transport {
namespace {

bool is_lower_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

}  // namespace

const Json* FieldReader::find(const char* key) {
  if (error_) return nullptr;
  const auto found = object_->find(key);
  if (found == object_->end()) {
    fail(key, "is missing");
    return nullptr;
  }
  return &*found;
}

const Json* FieldReader::find_array(const char* key, Bounds count) {
  const Json* field = find(key);
  if (field == nullptr) return nullptr;
  const auto entries = static_cast<std::int64_t>(field->size());
  if (!field->is_array() || entries < count.min || entries > count.max) {
    fail(key,
         "is not a list of " + std::to_string(count.min) + " to " + std::to_string(count.max) + " entries");
    return nullptr;
  }
  return field;
}

void FieldReader::fail(const char* key, const std::string& why) {
  if (!error_) error_ = Error{Errc::kProtocol, "field \"" + std::string(key) + "\" " + why, ""};
}

void FieldReader::text(const char* key, std::string& value, Bounds length) {
  const Json* field = find(key);
  if (field == nullptr) return;
  if (!field->is_string()) return fail(key, "is not a text");
  value = field->get<std::string>();
  const auto bytes = static_cast<std::int64_t>(value.size());
  if (bytes < length.min || bytes > length.max) fail(key, "has a length of " + std::to_string(bytes));
}

void FieldReader::hex(const char* key, std::string& value, std::size_t digits) {
  const auto length = static_cast<std::int64_t>(digits);
  text(key, value, {length, length});
  if (!error_ && !std::all_of(value.begin(), value.end(), is_lower_hex)) fail(key, "is not hexadecimal");
}

void FieldReader::maybe_hexes(const char* key, std::vector<std::string>& values, Bounds count,
                              std::size_t digits) {
  if (!has(key)) return;
  const auto length = static_cast<std::int64_t>(digits);
  texts(key, values, count, {length, length});
  const auto fits = [&](const std::string& value) {
    return value.size() == digits && std::ranges::all_of(value, is_lower_hex);
  };
  if (!error_ && !std::ranges::all_of(values, fits)) fail(key, "has an entry that is not hexadecimal");
}

void FieldReader::boolean(const char* key, bool& value) {
  const Json* field = find(key);
  if (field == nullptr) return;
  if (!field->is_boolean()) return fail(key, "is neither true nor false");
  value = field->get<bool>();
}

void FieldReader::blob(const char* key, std::uint32_t& index) {
  integer(key, index, {0, static_cast<std::int64_t>(blobs_) - 1});
}

void FieldReader::texts(const char* key, std::vector<std::string>& values, Bounds count, Bounds length) {
  const Json* field = find_array(key, count);
  if (field == nullptr) return;
  for (const Json& entry : *field) {
    const bool fits = entry.is_string() &&
                      static_cast<std::int64_t>(entry.get_ref<const std::string&>().size()) <= length.max;
    if (!fits) return fail(key, "has an entry that is not a short text");
    values.push_back(entry.get<std::string>());
  }
}

void FieldReader::pairs(const char* key, std::vector<std::pair<std::int64_t, std::int64_t>>& values,
                        Bounds count, Bounds bounds) {
  const Json* field = find_array(key, count);
  if (field == nullptr) return;
  for (const Json& entry : *field) {
    if (!entry.is_array() || entry.size() != 2) return fail(key, "has an entry that is not a pair");
    auto& [first, second] = values.emplace_back();
    read_integer(key, entry[0], first, bounds);
    read_integer(key, entry[1], second, bounds);
  }
}

Result<void> FieldReader::verdict() const {
  if (error_) return *error_;
  return {};
}

void FieldWriter::text(const char* key, std::string& value, Bounds length) {
  (*object_)[key] = value.substr(0, static_cast<std::size_t>(length.max));
}

}  // namespace pinion::transport
