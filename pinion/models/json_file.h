#pragma once
// Small JSON files beside a model's weights. Thread-safe.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "pinion/base/result.h"

namespace pinion::models {

// The JSON object in that file; kBadFormat naming the file if it holds anything else, kTooLarge over 16 MiB.
Result<nlohmann::json> read_json_object(const std::filesystem::path& path);

// Member `key` of `object`, or nullptr if it is absent or null.
const nlohmann::json* json_member(const nlohmann::json& object, const char* key);

// The same as text; empty if it is absent or no string.
std::string json_text(const nlohmann::json& object, const char* key);

}  // namespace pinion::models
