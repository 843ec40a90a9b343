#include "pinion/models/json_file.h"

#include "pinion/base/file_io.h"

namespace pinion::models {

Result<nlohmann::json> read_json_object(const std::filesystem::path& path) {
  constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
  PINION_TRY(const Bytes bytes, read_file(path, kMaxBytes));
  nlohmann::json json = nlohmann::json::parse(as_text(bytes), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    return Error{Errc::kBadFormat, path.string() + " is not a JSON object", "the file is damaged"};
  }
  return json;
}

const nlohmann::json* json_member(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string json_text(const nlohmann::json& object, const char* key) {
  const nlohmann::json* value = json_member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

}  // namespace pinion::models
