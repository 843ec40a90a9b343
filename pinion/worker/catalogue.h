#pragma once
// Which models this worker has, by content hash. A background thread lists the folders and hashes what was
// never hashed; the rest is used on the I/O thread only.

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <optional>
#include <string>

#include "pinion/worker/backend.h"
#include "pinion/worker/run_on.h"

namespace pinion::worker {

class Catalogue {
 public:
  Catalogue(asio::any_io_executor io, const Backend& backend, std::vector<std::filesystem::path> folders);
  ~Catalogue();  // waits for the file that is being hashed

  // Begins to look through the folders, unless that is going on.
  void scan();

  // The model with that hash; waits for the scan that is going on, and looks again for files that are new.
  // kModelMismatch names `client_label` and what is here.
  asio::awaitable<Result<std::filesystem::path>> find(std::string hash, std::string client_label);

 private:
  struct Entry {
    std::filesystem::path path;
    std::string hash;     // empty: not known (yet)
    std::string trouble;  // why it has no hash
  };

  void scan_in_background();
  std::optional<std::filesystem::path> known(const std::string& hash) const;
  Error mismatch(const std::string& hash, const std::string& client_label) const;

  asio::any_io_executor io_;
  const Backend& backend_;
  std::vector<std::filesystem::path> folders_;
  std::vector<Entry> entries_;       // I/O thread
  std::shared_ptr<Signal> scanned_;  // I/O thread; null when no scan is going on
  std::atomic<bool> is_stopping_ = false;
  asio::thread_pool thread_{1};
};

}  // namespace pinion::worker
