#include "pinion/worker/catalogue.h"

#include <boost/asio/post.hpp>

#include "pinion/base/log.h"
#include "pinion/base/stopwatch.h"

namespace pinion::worker {
namespace {

std::string short_hash(const std::string& hash) { return hash.substr(0, 12); }

}  // namespace

Catalogue::Catalogue(asio::any_io_executor io, const Backend& backend,
                     std::vector<std::filesystem::path> folders)
    : io_(std::move(io)), backend_(backend), folders_(std::move(folders)) {}

Catalogue::~Catalogue() {
  is_stopping_ = true;
  thread_.join();
}

void Catalogue::scan() {
  if (scanned_) return;
  scanned_ = std::make_shared<Signal>(io_);
  asio::post(thread_, [this] { scan_in_background(); });
}

void Catalogue::scan_in_background() {
  std::vector<Entry> found;
  for (const std::filesystem::path& folder : folders_) {
    Result<std::vector<std::filesystem::path>> paths =
        guarded<std::vector<std::filesystem::path>>([&] { return backend_.list(folder); });
    if (!paths.ok()) {
      spdlog::warn("{}", paths.error().message());
      continue;
    }
    for (std::filesystem::path& path : *paths) found.push_back({std::move(path), "", ""});
  }
  for (std::size_t i = 0; i < found.size() && !is_stopping_; ++i) {
    const Stopwatch watch;
    const Result<std::string> hash = guarded<std::string>([&]() -> Result<std::string> {
      PINION_TRY(const std::unique_ptr<models::Model> model, backend_.open(found[i].path));
      return model->content_hash();
    });
    if (hash.ok()) {
      found[i].hash = *hash;
      spdlog::info("model {} of {}: {} is {} ({:.1f} s)", i + 1, found.size(), found[i].path.string(),
                   short_hash(*hash), watch.elapsed_ms() / 1000);
    } else {
      found[i].trouble = hash.error().text;
      spdlog::warn("{}: {}", found[i].path.string(), hash.error().message());
    }
  }
  asio::post(io_, [this, found = std::move(found)]() mutable {
    entries_ = std::move(found);
    std::exchange(scanned_, nullptr)->set();
  });
}

std::optional<std::filesystem::path> Catalogue::known(const std::string& hash) const {
  for (const Entry& entry : entries_) {
    if (entry.hash == hash) return entry.path;
  }
  return std::nullopt;
}

asio::awaitable<Result<std::filesystem::path>> Catalogue::find(std::string hash, std::string client_label) {
  for (int look = 0; look < 2; ++look) {
    if (const auto path = known(hash)) co_return *path;
    // The first look may find a scan that began before a file was put there; the second one is fresh.
    if (!scanned_) scan();
    const std::shared_ptr<Signal> scanned = scanned_;
    co_await scanned->wait();
  }
  if (const auto path = known(hash)) co_return *path;
  co_return mismatch(hash, client_label);
}

Error Catalogue::mismatch(const std::string& hash, const std::string& client_label) const {
  std::string have;
  for (const Entry& entry : entries_) {
    have += (have.empty() ? "" : ", ") + entry.path.string() + " (" +
            (entry.hash.empty() ? entry.trouble : short_hash(entry.hash)) + ")";
    if (have.size() > 1000) {
      have += ", ...";
      break;
    }
  }
  return Error{Errc::kModelMismatch,
               "the worker does not have the weights of " + client_label + " (" + short_hash(hash) +
                   "); it has " + (have.empty() ? "no models" : have),
               "put the same model into one of the worker's --models folders"};
}

}  // namespace pinion::worker
