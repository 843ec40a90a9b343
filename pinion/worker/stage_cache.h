#pragma once
// Loaded stages, shared by all clients that ask for the same blocks of the same weights. Used on the I/O
// thread; loading runs on a thread of its own, and stages are freed on the device's thread.

#include <boost/asio/thread_pool.hpp>
#include <compare>
#include <map>

#include "pinion/worker/catalogue.h"
#include "pinion/worker/compute_queue.h"

namespace pinion::worker {

struct StageKey {
  std::string model_hash;
  int begin = 0;
  int end = 0;
  DType dtype = DType::kF32;
  auto operator<=>(const StageKey&) const = default;
};

struct LoadedStage {
  models::ModelInfo info;
  std::string model_hash;
  std::unique_ptr<models::Stage> stage;  // used on the device's thread only
  std::size_t weight_bytes = 0;
  double load_ms = 0;
};

struct StageCacheOptions {
  Device device;
  std::size_t max_weight_bytes = 0;  // of all stages together; 0: as many as fit
};

class StageCache {
 public:
  StageCache(const Backend& backend, Catalogue& catalogue, std::shared_ptr<ComputeQueue> compute,
             StageCacheOptions options)
      : backend_(backend), catalogue_(catalogue), compute_(std::move(compute)), options_(options) {}

  struct Opened {
    std::shared_ptr<LoadedStage> stage;
    bool was_loaded = false;  // before this call
  };

  // Loads the stage, or waits for the one who does, or returns it at once.
  asio::awaitable<Result<Opened>> open(StageKey key, std::string client_label);

  std::size_t weight_bytes() const;  // of all that is loaded

 private:
  struct Entry {
    std::shared_ptr<LoadedStage> stage;  // null while it is being loaded
    std::shared_ptr<Signal> loading;     // null once it is loaded
    std::uint64_t last_use = 0;
  };

  asio::awaitable<Result<std::shared_ptr<LoadedStage>>> load(StageKey key, std::string client_label);
  Result<std::unique_ptr<LoadedStage>> load_now(const std::filesystem::path& path, const StageKey& key,
                                                std::size_t room) const;
  std::size_t room_bytes() const;
  bool free_oldest_idle();

  const Backend& backend_;
  Catalogue& catalogue_;
  std::shared_ptr<ComputeQueue> compute_;
  StageCacheOptions options_;
  std::map<StageKey, Entry> entries_;
  std::uint64_t uses_ = 0;
  asio::thread_pool loader_{1};
};

}  // namespace pinion::worker
