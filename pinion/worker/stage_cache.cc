#include "pinion/worker/stage_cache.h"

#include <algorithm>
#include <limits>

#include "pinion/base/log.h"
#include "pinion/base/stopwatch.h"

namespace pinion::worker {
namespace {

// An upper bound of what the stage will hold, before it is loaded.
std::size_t expected_bytes(const models::ModelInfo& info, const StageKey& key) {
  std::size_t bytes = info.shared_bytes;
  if (key.begin == 0) bytes += info.embed_bytes;
  if (key.end == static_cast<int>(info.blocks.size())) bytes += info.finish_bytes;
  for (int block = key.begin; block < key.end; ++block) {
    bytes += info.blocks[static_cast<std::size_t>(block)].weight_bytes;
  }
  return bytes / std::max<std::size_t>(size_bytes(info.weight_dtype), 1) * size_bytes(key.dtype);
}

}  // namespace

asio::awaitable<Result<StageCache::Opened>> StageCache::open(StageKey key, std::string client_label) {
  for (;;) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) break;
    if (found->second.stage) {
      found->second.last_use = ++uses_;
      co_return Opened{found->second.stage, true};
    }
    const std::shared_ptr<Signal> loading = found->second.loading;
    co_await loading->wait();  // it may have failed: then it is our turn to try
  }
  const auto loading = std::make_shared<Signal>(co_await asio::this_coro::executor);
  entries_[key] = Entry{nullptr, loading, ++uses_};
  Result<std::shared_ptr<LoadedStage>> loaded = co_await load(key, std::move(client_label));
  if (loaded.ok()) {
    entries_[key] = Entry{*loaded, nullptr, ++uses_};
  } else {
    entries_.erase(key);
  }
  loading->set();
  if (!loaded.ok()) co_return std::move(loaded).error();
  co_return Opened{std::move(loaded).value(), false};
}

asio::awaitable<Result<std::shared_ptr<LoadedStage>>> StageCache::load(StageKey key,
                                                                       std::string client_label) {
  PINION_CO_TRY(const std::filesystem::path path,
                co_await catalogue_.find(key.model_hash, std::move(client_label)));
  for (;;) {
    const std::size_t room = room_bytes();
    std::optional<Result<std::unique_ptr<LoadedStage>>> loaded;
    const auto submit = [this](std::function<void()> job) { asio::post(loader_, std::move(job)); };
    std::function<void()> work = [&] {
      loaded = guarded<std::unique_ptr<LoadedStage>>([&] { return load_now(path, key, room); });
    };
    co_await run_elsewhere(submit, std::move(work));
    if (loaded->ok()) {
      std::unique_ptr<LoadedStage> stage = std::move(*loaded).value();
      spdlog::info("loaded blocks {} to {} of {} as {}: {} MB in {:.1f} s, {} MB in all", key.begin,
                   key.end - 1, path.string(), name(key.dtype), stage->weight_bytes / 1'000'000,
                   stage->load_ms / 1000, (weight_bytes() + stage->weight_bytes) / 1'000'000);
      // The last owner may be on any thread; the stage itself ends on the device's.
      co_return std::shared_ptr<LoadedStage>(stage.release(),
                                             [queue = std::weak_ptr(compute_)](LoadedStage* last) {
                                               const std::shared_ptr<LoadedStage> owner(last);
                                               if (const auto compute = queue.lock())
                                                 compute->submit("", [owner] {});
                                             });
    }
    if (loaded->error().code != Errc::kOutOfMemory || !free_oldest_idle())
      co_return std::move(*loaded).error();
    // The freed stage ends on the device's thread; what comes after it there comes after its memory is free.
    const auto submit_compute = [this](std::function<void()> job) { compute_->submit("", std::move(job)); };
    co_await run_elsewhere(submit_compute, [] {});
  }
}

Result<std::unique_ptr<LoadedStage>> StageCache::load_now(const std::filesystem::path& path,
                                                          const StageKey& key, std::size_t room) const {
  const Stopwatch watch;
  PINION_TRY(const std::unique_ptr<models::Model> model, backend_.open(path));
  PINION_TRY(const std::string hash, model->content_hash());
  if (hash != key.model_hash) {
    return Error{Errc::kModelMismatch, path.string() + " was changed while the worker ran", "ask again"};
  }
  if (key.begin >= key.end || key.end > model->block_count()) {
    return Error{Errc::kInvalidArgument,
                 "blocks " + std::to_string(key.begin) + " to " + std::to_string(key.end) +
                     " of a model that has " + std::to_string(model->block_count()),
                 ""};
  }
  if (const std::size_t bytes = expected_bytes(model->info(), key); bytes > room) {
    return Error{Errc::kOutOfMemory,
                 "blocks " + std::to_string(key.begin) + " to " + std::to_string(key.end) + " need " +
                     std::to_string(bytes / 1'000'000) + " MB, more than this worker may use",
                 "give this worker fewer blocks, or more memory"};
  }
  auto loaded = std::make_unique<LoadedStage>();
  loaded->info = model->info();
  loaded->model_hash = key.model_hash;
  const models::BlockRange range{key.begin, key.end};
  PINION_TRY(loaded->stage, model->load_stage(range, {.device = options_.device, .dtype = key.dtype}));
  loaded->weight_bytes = loaded->stage->weight_bytes();
  loaded->load_ms = watch.elapsed_ms();
  return loaded;
}

std::size_t StageCache::weight_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [key, entry] : entries_) bytes += entry.stage ? entry.stage->weight_bytes : 0;
  return bytes;
}

std::size_t StageCache::room_bytes() const {
  if (options_.max_weight_bytes == 0) return std::numeric_limits<std::size_t>::max();
  return options_.max_weight_bytes - std::min(options_.max_weight_bytes, weight_bytes());
}

bool StageCache::free_oldest_idle() {
  auto oldest = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const bool is_idle = entry->second.stage && entry->second.stage.use_count() == 1;
    if (is_idle && (oldest == entries_.end() || entry->second.last_use < oldest->second.last_use))
      oldest = entry;
  }
  if (oldest == entries_.end()) return false;
  spdlog::info("freeing blocks {} to {} to make room", oldest->first.begin, oldest->first.end - 1);
  entries_.erase(oldest);
  return true;
}

}  // namespace pinion::worker
