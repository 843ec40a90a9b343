#pragma once
// Where the weights of a model are: one safetensors file, several shards with an index, or a folder.
// Reads nothing but headers until a tensor is asked for; tensors are views into the mapped file.
// Thread-safe once open.

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pinion/base/safetensors.h"

namespace pinion::models {

class Weights {
 public:
  // A .safetensors file; or a folder with `<stem>.safetensors.index.json` (every shard must exist and hold
  // what the index says), or with exactly one .safetensors file.
  static Result<Weights> open(const std::filesystem::path& path);

  bool contains(std::string_view name) const { return where_.contains(name); }
  std::vector<std::string> names() const;  // sorted
  const SafetensorsEntry* entry(std::string_view name) const;

  // The tensor as stored, or kNotFound naming the tensor and the path. Remembers that it was read.
  Result<Tensor> tensor(std::string_view name) const;

  const std::filesystem::path& path() const { return path_; }
  std::vector<std::filesystem::path> files() const;
  const std::map<std::string, std::string>& metadata() const;  // of the first file

  // Bytes handed out by tensor() so far: what the tests ask to prove that a stage reads only its blocks.
  std::size_t bytes_read() const { return *bytes_read_; }

 private:
  static Result<Weights> open_index(const std::filesystem::path& index);
  static Result<Weights> open_file(const std::filesystem::path& file);

  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t, std::less<>> where_;  // name -> index in files_
  std::shared_ptr<std::atomic<std::size_t>> bytes_read_ = std::make_shared<std::atomic<std::size_t>>(0);
};

}  // namespace pinion::models
