#pragma once
// Files: memory-mapped reading, small whole-file reads, and writes that are all or nothing.

#include <filesystem>
#include <memory>
#include <string>

#include "pinion/base/bytes.h"

namespace pinion {

// A read-only mapping of a whole regular file. Pages are read when touched, so mapping a checkpoint
// costs nothing until its tensors are used. Shared by the tensors that view into it; thread-safe. A file
// that is truncated while mapped raises SIGBUS on access, as with any mapping.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  ByteSpan bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile(std::filesystem::path path, ByteSpan bytes) : path_(std::move(path)), bytes_(bytes) {}
  std::filesystem::path path_;
  ByteSpan bytes_;
};

// The whole file; kTooLarge if it has more than `max_bytes`.
Result<Bytes> read_file(const std::filesystem::path& path, std::size_t max_bytes);

// Writes beside `path` and renames, so a reader sees the old content or the new, never half of it.
// Missing parent folders are made. `mode` are permission bits, such as 0600 for secrets.
Result<void> write_file(const std::filesystem::path& path, ByteSpan content, unsigned mode = 0644);

}  // namespace pinion
