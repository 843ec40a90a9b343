#include "pinion/models/model_list.h"

#include <algorithm>

#include "pinion/models/content_hash.h"
#include "pinion/models/family.h"

namespace pinion::models {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxDepth = 5;

bool is_model_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "model_index.json", ignored) ||
         fs::is_directory(folder / "transformer", ignored);
}

bool ends_with(const fs::path& path, std::string_view ending) {
  return path.filename().string().ends_with(ending);
}

// Everything under `folder` that may be one checkpoint: a diffusers folder, a folder of shards, a file.
void find_candidates(const fs::path& folder, int depth, std::vector<fs::path>& found) {
  if (is_model_folder(folder)) {
    found.push_back(folder);
    return;
  }
  std::vector<fs::path> files;
  std::vector<fs::path> folders;
  bool sharded = false;
  std::error_code failure;
  for (fs::directory_iterator at(folder, failure), end; !failure && at != end; at.increment(failure)) {
    std::error_code ignored;
    if (ends_with(at->path(), ".safetensors.index.json")) sharded = true;
    if (ends_with(at->path(), ".safetensors")) files.push_back(at->path());
    const bool hidden = at->path().filename().string().starts_with('.');
    if (!hidden && at->is_directory(ignored)) folders.push_back(at->path());
  }
  if (sharded) files = {folder};
  std::sort(files.begin(), files.end());
  std::sort(folders.begin(), folders.end());
  found.insert(found.end(), files.begin(), files.end());
  if (depth == kMaxDepth) return;
  for (const fs::path& inner : folders) find_candidates(inner, depth + 1, found);
}

std::size_t total_bytes(const ModelInfo& info) {
  std::size_t total = info.embed_bytes + info.shared_bytes + info.finish_bytes;
  for (const BlockInfo& block : info.blocks) total += block.weight_bytes;
  return total;
}

Result<ListedModel> read_model(const fs::path& path, const Weights& weights, const Family& family,
                               bool compute_hash) {
  PINION_TRY(const auto model, family.open(weights));
  ListedModel listed{path, model->info(), total_bytes(model->info()), ""};
  if (compute_hash) {
    PINION_TRY(listed.hash, model->content_hash());
  } else {
    PINION_TRY(const Checkpoint checkpoint, family.open_checkpoint(weights));
    listed.hash = known_hash(checkpoint, family.name()).value_or("");
  }
  return listed;
}

void add_candidate(const fs::path& path, bool compute_hashes, ModelList& list) {
  const auto weights = Weights::open(transformer_path(path));
  if (!weights.ok()) {
    list.others.push_back({path, weights.error().message(), true});
    return;
  }
  const auto family = recognise(*weights);
  if (!family.ok()) {
    list.others.push_back({path, describe_weights(*weights), false});
    return;
  }
  auto model = read_model(path, *weights, **family, compute_hashes);
  if (model.ok()) {
    list.models.push_back(std::move(model).value());
  } else {
    list.others.push_back({path, model.error().message(), true});
  }
}

}  // namespace

Result<ModelList> list_models(const fs::path& path, bool compute_hashes) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (!fs::exists(status)) {
    return Error{Errc::kNotFound, "there is no file or folder " + path.string(),
                 "name the folder that holds your models"};
  }
  std::vector<fs::path> candidates;
  if (fs::is_directory(status)) {
    find_candidates(path, 0, candidates);
  } else {
    candidates.push_back(path);
  }
  ModelList list;
  for (const fs::path& candidate : candidates) add_candidate(candidate, compute_hashes, list);
  return list;
}

}  // namespace pinion::models
