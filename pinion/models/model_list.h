#pragma once
// What models lie under a folder. Reads headers only, except for hashes when asked.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pinion/models/stage.h"

namespace pinion::models {

struct ListedModel {
  std::filesystem::path path;  // as open_model takes it
  ModelInfo info;
  std::size_t total_bytes = 0;  // of all weights
  std::string hash;             // empty if it is not known yet
};

struct ListedOther {
  std::filesystem::path path;
  std::string what;  // "a VAE", or what is wrong with the file
  bool damaged = false;
};

struct ModelList {
  std::vector<ListedModel> models;
  std::vector<ListedOther> others;  // safetensors files that are no diffusion model, or cannot be read
};

// `path`: a folder to search (five levels deep, hidden folders left out), or one model. With `compute_hashes`
// every weight that was never hashed is read. kNotFound if there is no such path.
Result<ModelList> list_models(const std::filesystem::path& path, bool compute_hashes);

}  // namespace pinion::models
