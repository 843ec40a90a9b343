#pragma once
// The safetensors file format: u64 header length, JSON header, tensor data. Reading trusts nothing.
//
// Format: https://github.com/huggingface/safetensors (u64 little-endian length, then a JSON object of
// {name: {dtype, shape, data_offsets: [begin, end]}} with optional "__metadata__" of strings).

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pinion/base/file_io.h"
#include "pinion/base/tensor.h"

namespace pinion {

struct SafetensorsEntry {
  std::string name;
  DType dtype;
  Shape shape;
  std::size_t begin;  // byte offset in the file
  std::size_t end;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in order of their data
  std::map<std::string, std::string> metadata;
};

// Limits that a hostile header cannot pass.
struct SafetensorsLimits {
  std::size_t max_header_bytes = 100'000'000;  // as in the reference implementation
  std::size_t max_tensors = 1'000'000;
};

// Parses the header of a file of `file_bytes` bytes whose beginning (at least the header) is `start`.
// Every offset is checked against the file, dtype and shape; tensors may neither overlap nor leave holes.
Result<SafetensorsHeader> parse_safetensors(ByteSpan start, std::size_t file_bytes,
                                            const SafetensorsLimits& limits = {});

// An open file: tensors are views into the mapping and keep it alive. Thread-safe.
class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::filesystem::path& path);

  const SafetensorsHeader& header() const { return header_; }
  const std::filesystem::path& path() const { return file_->path(); }
  const SafetensorsEntry* find(std::string_view name) const;
  Tensor tensor(const SafetensorsEntry& entry) const;

  // The tensor of that name, or kNotFound naming the file.
  Result<Tensor> tensor(std::string_view name) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  SafetensorsHeader header_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// Writes all tensors (host memory) in the given order.
Result<void> write_safetensors(const std::filesystem::path& path, const TensorList& tensors,
                               const std::map<std::string, std::string>& metadata = {});

}  // namespace pinion
