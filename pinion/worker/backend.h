#pragma once
// What a worker needs of the models folder, as functions, so that its own logic links no libtorch and can be
// tested with a toy model. `pinion worker` fills it with the real ones.

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "pinion/models/stage.h"

namespace pinion::worker {

// Draws latents again from their seed (docs/protocol.md, section 5). Thread-safe.
struct NoiseSource {
  std::string generator;  // empty: there is none
  std::function<Tensor(std::uint64_t seed, std::int64_t batch, std::int64_t channels,
                       models::LatentGrid grid)>
      draw;
};

struct Backend {
  // The models under a folder, or at a path. Called on a background thread.
  std::function<Result<std::vector<std::filesystem::path>>(const std::filesystem::path&)> list;

  std::function<Result<std::unique_ptr<models::Model>>(const std::filesystem::path&)> open;

  // To host memory, waiting for the device. Called on the device's thread.
  std::function<Result<Tensor>(const Tensor&)> to_cpu;

  NoiseSource noise;
};

}  // namespace pinion::worker
