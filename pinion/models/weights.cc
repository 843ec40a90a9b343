#include "pinion/models/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace pinion::models {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxIndexBytes = 100'000'000;
constexpr std::string_view kFileEnding = ".safetensors";
constexpr std::string_view kIndexEnding = ".safetensors.index.json";

struct FolderContent {
  std::vector<fs::path> files;
  std::vector<fs::path> indexes;
};

Result<FolderContent> list_folder(const fs::path& folder) {
  FolderContent content;
  std::error_code failure;
  for (fs::directory_iterator at(folder, failure), end; !failure && at != end; at.increment(failure)) {
    const std::string file = at->path().filename().string();
    if (file.ends_with(kIndexEnding)) content.indexes.push_back(at->path());
    if (file.ends_with(kFileEnding)) content.files.push_back(at->path());
  }
  if (failure) return Error{Errc::kIo, "cannot list " + folder.string() + ": " + failure.message(), ""};
  std::sort(content.files.begin(), content.files.end());
  std::sort(content.indexes.begin(), content.indexes.end());
  return content;
}

Error ambiguous(const fs::path& folder, const std::vector<fs::path>& candidates) {
  std::string text = folder.string() + " holds several checkpoints:";
  for (const fs::path& candidate : candidates) text += fmt::format(" {}", candidate.filename().string());
  return Error{Errc::kInvalidArgument, std::move(text), "name the file itself"};
}

// A shard is a plain file name beside the index: anything else could reach outside the folder.
bool is_plain_name(const std::string& shard) {
  return !shard.empty() && shard != "." && shard != ".." && shard.find('/') == std::string::npos &&
         shard.find('\0') == std::string::npos;
}

Result<std::map<std::string, std::string>> read_weight_map(const fs::path& index) {
  const auto bad = [&](const std::string& text) {
    return Error{Errc::kBadFormat, index.string() + ": " + text, "the index is damaged: download it again"};
  };
  PINION_TRY(const Bytes bytes, read_file(index, kMaxIndexBytes));
  const auto json = nlohmann::json::parse(as_text(bytes), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object() || !json.contains("weight_map") ||
      !json["weight_map"].is_object()) {
    return bad("not a JSON object with a weight_map");
  }
  std::map<std::string, std::string> weight_map;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string() || !is_plain_name(shard.get<std::string>())) {
      return bad("the shard of tensor '" + name + "' is not a plain file name");
    }
    weight_map.emplace(name, shard.get<std::string>());
  }
  if (weight_map.empty()) return bad("it lists no tensors");
  return weight_map;
}

}  // namespace

Result<Weights> Weights::open(const fs::path& path) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (!fs::exists(status)) return Error{Errc::kNotFound, "there is no file or folder " + path.string(), ""};
  if (!fs::is_directory(status)) return open_file(path);

  PINION_TRY(const FolderContent content, list_folder(path));
  if (content.indexes.size() > 1) return ambiguous(path, content.indexes);
  if (content.indexes.size() == 1) return open_index(content.indexes.front());
  if (content.files.size() > 1) return ambiguous(path, content.files);
  if (content.files.empty()) {
    return Error{Errc::kNotFound, path.string() + " holds no .safetensors file",
                 "name a checkpoint file or a model folder"};
  }
  return open_file(content.files.front());
}

Result<Weights> Weights::open_file(const fs::path& path) {
  if (!path.filename().string().ends_with(kFileEnding)) {
    return Error{Errc::kUnsupported, path.string() + " is not a .safetensors file",
                 "convert it to safetensors first"};
  }
  Weights weights;
  weights.path_ = path;
  PINION_TRY(SafetensorsFile file, SafetensorsFile::open(path));
  for (const SafetensorsEntry& entry : file.header().entries) weights.where_.emplace(entry.name, 0);
  weights.files_.push_back(std::move(file));
  return weights;
}

Result<Weights> Weights::open_index(const fs::path& index) {
  PINION_TRY(const auto weight_map, read_weight_map(index));
  Weights weights;
  weights.path_ = index.parent_path();
  std::map<std::string, std::size_t> opened;
  for (const auto& [name, shard] : weight_map) {
    auto known = opened.find(shard);
    if (known == opened.end()) {
      auto file = SafetensorsFile::open(index.parent_path() / shard);
      if (!file.ok()) return std::move(file).error().in("shard named by " + index.filename().string());
      known = opened.emplace(shard, weights.files_.size()).first;
      weights.files_.push_back(std::move(file).value());
    }
    if (weights.files_[known->second].find(name) == nullptr) {
      return Error{Errc::kBadFormat,
                   weights.files_[known->second].path().string() + " lacks tensor '" + name + "', which " +
                       index.filename().string() + " promises",
                   "index and shards do not belong together: download the model again"};
    }
    weights.where_.emplace(name, known->second);
  }
  return weights;
}

std::vector<std::string> Weights::names() const {
  std::vector<std::string> all;
  all.reserve(where_.size());
  for (const auto& [name, file] : where_) all.push_back(name);
  return all;
}

const SafetensorsEntry* Weights::entry(std::string_view name) const {
  const auto found = where_.find(name);
  return found == where_.end() ? nullptr : files_[found->second].find(name);
}

Result<Tensor> Weights::tensor(std::string_view name) const {
  const auto found = where_.find(name);
  if (found == where_.end()) {
    return Error{Errc::kNotFound, path_.string() + " has no tensor '" + std::string(name) + "'", ""};
  }
  PINION_TRY(Tensor tensor, files_[found->second].tensor(name));
  *bytes_read_ += tensor.bytes();
  return tensor;
}

std::vector<fs::path> Weights::files() const {
  std::vector<fs::path> paths;
  for (const SafetensorsFile& file : files_) paths.push_back(file.path());
  return paths;
}

const std::map<std::string, std::string>& Weights::metadata() const {
  return files_.front().header().metadata;
}

}  // namespace pinion::models
