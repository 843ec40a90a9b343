#include "pinion/base/file_io.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pinion {
namespace {

// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Error system_error(const std::string& what, const std::filesystem::path& path) {
  const Errc code = errno == ENOENT ? Errc::kNotFound : Errc::kIo;
  return Error{code, what + " " + path.string() + ": " + std::strerror(errno), ""};
}

struct OpenFile {
  int fd;
  std::size_t size;
};

Result<OpenFile> open_regular(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer. It changes nothing for a regular file.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return system_error("cannot open", path);
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    return Error{Errc::kIo, path.string() + " is not a regular file", ""};
  }
  return OpenFile{fd, static_cast<std::size_t>(status.st_size)};
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  PINION_TRY(const OpenFile file, open_regular(path));
  const Descriptor descriptor(file.fd);
  ByteSpan bytes;
  if (file.size > 0) {
    void* address = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (address == MAP_FAILED) return system_error("cannot map", path);
    bytes = {static_cast<const std::byte*>(address), file.size};
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, bytes));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

Result<Bytes> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  PINION_TRY(const OpenFile file, open_regular(path));
  const Descriptor descriptor(file.fd);
  if (file.size > max_bytes) {
    return Error{Errc::kTooLarge,
                 path.string() + " has " + std::to_string(file.size) + " bytes, the limit is " +
                     std::to_string(max_bytes),
                 ""};
  }
  Bytes content(file.size);
  std::size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t count = ::read(file.fd, content.data() + filled, content.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("cannot read", path);
    if (count == 0) break;
    filled += static_cast<std::size_t>(count);
  }
  content.resize(filled);
  return content;
}

Result<void> write_file(const std::filesystem::path& path, ByteSpan content, unsigned mode) {
  std::error_code failure;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), failure);
  std::string temporary = path.string() + ".XXXXXX";
  const Descriptor descriptor(::mkostemp(temporary.data(), O_CLOEXEC));
  if (descriptor.get() < 0) return system_error("cannot write", path);
  const auto give_up = [&](const std::string& what) {
    Error error = system_error(what, path);
    ::unlink(temporary.c_str());
    return error;
  };
  std::size_t written = 0;
  while (written < content.size()) {
    const ssize_t count = ::write(descriptor.get(), content.data() + written, content.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return give_up("cannot write");
    written += static_cast<std::size_t>(count);
  }
  if (::fchmod(descriptor.get(), mode) != 0) return give_up("cannot set permissions of");
  if (::fsync(descriptor.get()) != 0) return give_up("cannot write");
  if (::rename(temporary.c_str(), path.c_str()) != 0) return give_up("cannot replace");
  return {};
}

}  // namespace pinion
