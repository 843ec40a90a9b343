#pragma once
// Whom this machine is paired with: `paired_workers.json` (workers it may use) and `paired_clients.json`
// (clients that may use it) in the configuration folder. Several processes may share the folder: every call
// reads the file, and a change is made under a lock. Thread-safe.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pinion/transport/pairing_line.h"

namespace pinion::transport {

struct PairedWorker {
  Address address;
  Fingerprint fingerprint{};
  std::string paired_at;  // UTC, ISO 8601
};

struct PairedClient {
  std::string name;  // what the client called its machine
  Fingerprint fingerprint{};
  std::string paired_at;
};

class PeerStore {
 public:
  explicit PeerStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  Result<std::vector<PairedWorker>> workers() const;
  Result<std::vector<PairedClient>> clients() const;

  // Adds, or replaces the entry with the same address (workers) or fingerprint (clients).
  Result<void> add_worker(const Address& address, const Fingerprint& fingerprint);
  Result<void> add_client(const std::string& name, const Fingerprint& fingerprint);

  // Removes every worker and client whose address, name or hexadecimal fingerprint is `who`; a fingerprint
  // may be cut to 8 digits or more. Returns how many there were.
  Result<int> remove(const std::string& who);

  bool is_paired_client(const Fingerprint& fingerprint) const;

  // Whether a worker that shows `fingerprint` at `address` is one that was paired; the error says why not
  // (docs/protocol.md, section 3).
  Result<void> check_worker(const Address& address, const Fingerprint& fingerprint) const;

 private:
  std::filesystem::path folder_;
};

// The first digits of a fingerprint, for people.
std::string short_fingerprint(const Fingerprint& fingerprint);

}  // namespace pinion::transport
