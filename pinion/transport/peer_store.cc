#include "pinion/transport/peer_store.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pinion/base/file_io.h"

namespace pinion::transport {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxFileBytes = 4 << 20;
constexpr const char* kWorkersFile = "paired_workers.json";
constexpr const char* kClientsFile = "paired_clients.json";

Error broken(const std::filesystem::path& path) {
  return Error{Errc::kBadFormat, path.string() + " is not a list of peers", "remove the file and pair again"};
}

// The entries of a peers file; none if there is no file.
Result<Json> read_entries(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return Json::array();
  PINION_TRY(const Bytes bytes, read_file(path, kMaxFileBytes));
  Json file = Json::parse(as_text(bytes), nullptr, false);
  if (!file.is_object() || !file.contains("peers") || !file["peers"].is_array()) return broken(path);
  return std::move(file["peers"]);
}

Result<void> write_entries(const std::filesystem::path& path, Json entries) {
  const Json file{{"peers", std::move(entries)}};
  const std::string text = file.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return write_file(path, as_bytes(text), 0600);
}

// Files may have been edited by hand: a field of another type counts as absent.
std::string text_in(const Json& entry, const char* key) {
  const auto found = entry.find(key);
  return found != entry.end() && found->is_string() ? found->get<std::string>() : "";
}

Address address_in(const Json& entry) {
  const auto port = entry.find("port");
  const bool is_port =
      port != entry.end() && port->is_number_unsigned() && port->get<std::uint64_t>() <= 65535;
  return {text_in(entry, "host"), is_port ? port->get<std::uint16_t>() : std::uint16_t{0}};
}

std::optional<Fingerprint> read_fingerprint(const Json& entry) {
  if (!entry.is_object()) return std::nullopt;
  const Result<Bytes> bytes = from_hex(text_in(entry, "fingerprint"));
  Fingerprint fingerprint{};
  if (!bytes.ok() || bytes->size() != fingerprint.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), fingerprint.begin());
  return fingerprint;
}

std::string now_utc() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

// Held while a file is read and written again, so that no process loses another's change.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder) {
    std::error_code ignored;
    std::filesystem::create_directories(folder, ignored);
    file_ = ::open((folder / "peers.lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (file_ >= 0) ::flock(file_, LOCK_EX);
  }
  ~FolderLock() {
    if (file_ >= 0) ::close(file_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_;
};

bool names(const std::string& who, const Json& entry) {
  const std::string fingerprint = text_in(entry, "fingerprint");
  if (who.size() >= 8 && fingerprint.starts_with(who)) return true;
  if (entry.contains("name")) return text_in(entry, "name") == who;
  const Result<Address> address = parse_address(who);
  return address.ok() && address_in(entry) == *address;
}

Result<int> remove_from(const std::filesystem::path& path, const std::string& who) {
  PINION_TRY(const Json entries, read_entries(path));
  Json kept = Json::array();
  for (const Json& entry : entries) {
    if (!entry.is_object() || !names(who, entry)) kept.push_back(entry);
  }
  const int removed = static_cast<int>(entries.size() - kept.size());
  if (removed > 0) PINION_TRY_VOID(write_entries(path, std::move(kept)));
  return removed;
}

// Puts `entry` in the place of those that `same` accepts.
template <class Same>
Result<void> put(const std::filesystem::path& path, Json entry, Same same) {
  PINION_TRY(const Json entries, read_entries(path));
  Json kept = Json::array();
  for (const Json& old : entries) {
    if (old.is_object() && !same(old)) kept.push_back(old);
  }
  kept.push_back(std::move(entry));
  return write_entries(path, std::move(kept));
}

}  // namespace

std::string short_fingerprint(const Fingerprint& fingerprint) { return to_hex(fingerprint).substr(0, 16); }

Result<std::vector<PairedWorker>> PeerStore::workers() const {
  PINION_TRY(const Json entries, read_entries(folder_ / kWorkersFile));
  std::vector<PairedWorker> workers;
  for (const Json& entry : entries) {
    const std::optional<Fingerprint> fingerprint = read_fingerprint(entry);
    if (!fingerprint) return broken(folder_ / kWorkersFile);
    workers.push_back({address_in(entry), *fingerprint, text_in(entry, "paired_at")});
  }
  return workers;
}

Result<std::vector<PairedClient>> PeerStore::clients() const {
  PINION_TRY(const Json entries, read_entries(folder_ / kClientsFile));
  std::vector<PairedClient> clients;
  for (const Json& entry : entries) {
    const std::optional<Fingerprint> fingerprint = read_fingerprint(entry);
    if (!fingerprint) return broken(folder_ / kClientsFile);
    clients.push_back({text_in(entry, "name"), *fingerprint, text_in(entry, "paired_at")});
  }
  return clients;
}

Result<void> PeerStore::add_worker(const Address& address, const Fingerprint& fingerprint) {
  const FolderLock lock(folder_);
  Json entry{{"host", address.host},
             {"port", address.port},
             {"fingerprint", to_hex(fingerprint)},
             {"paired_at", now_utc()}};
  return put(folder_ / kWorkersFile, std::move(entry),
             [&](const Json& old) { return address_in(old) == address; });
}

Result<void> PeerStore::add_client(const std::string& name, const Fingerprint& fingerprint) {
  const FolderLock lock(folder_);
  const std::string digits = to_hex(fingerprint);
  Json entry{{"name", name}, {"fingerprint", digits}, {"paired_at", now_utc()}};
  return put(folder_ / kClientsFile, std::move(entry),
             [&](const Json& old) { return text_in(old, "fingerprint") == digits; });
}

Result<int> PeerStore::remove(const std::string& who) {
  const FolderLock lock(folder_);
  PINION_TRY(const int workers, remove_from(folder_ / kWorkersFile, who));
  PINION_TRY(const int clients, remove_from(folder_ / kClientsFile, who));
  return workers + clients;
}

bool PeerStore::is_paired_client(const Fingerprint& fingerprint) const {
  const Result<std::vector<PairedClient>> known = clients();
  return known.ok() && std::any_of(known->begin(), known->end(), [&](const PairedClient& client) {
           return client.fingerprint == fingerprint;
         });
}

Result<void> PeerStore::check_worker(const Address& address, const Fingerprint& fingerprint) const {
  PINION_TRY(const std::vector<PairedWorker> known, workers());
  bool known_elsewhere = false;
  for (const PairedWorker& worker : known) {
    if (worker.address == address && worker.fingerprint != fingerprint) {
      return Error{
          Errc::kCertificate,
          "the worker at " + to_string(address) + " is not the one that was paired: its certificate is " +
              short_fingerprint(fingerprint) + ", not " + short_fingerprint(worker.fingerprint),
          "if the worker was set up anew, run `pinion pair` with the line it prints; otherwise somebody "
          "else answers there"};
    }
    known_elsewhere = known_elsewhere || worker.fingerprint == fingerprint;
  }
  if (known_elsewhere) return {};
  return Error{Errc::kNotPaired, "this machine is not paired with the worker at " + to_string(address),
               "run `pinion pair` with the line that the worker prints"};
}

}  // namespace pinion::transport
