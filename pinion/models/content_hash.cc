#include "pinion/models/content_hash.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "pinion/base/float_formats.h"
#include "pinion/base/log.h"
#include "pinion/base/sha256.h"
#include "pinion/base/user_folders.h"

namespace pinion::models {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHashVersion = "pinion weights 1";
constexpr std::size_t kMaxCacheEntryBytes = 1 << 20;
constexpr unsigned kMaxThreads = 8;

// Rows that follow each other in the canonical tensor with one dtype and one scale.
struct Run {
  DType dtype;
  float scale;
  std::vector<ByteSpan> parts;
  std::size_t bytes = 0;
};

// The scale of each row of a piece: one value for all rows, or one per row.
Result<std::vector<float>> read_scales(const Weights& weights, const Piece& piece) {
  if (piece.scale.empty()) return std::vector<float>{1.0f};
  PINION_TRY(const Tensor stored, weights.tensor(piece.scale));
  std::vector<float> all(static_cast<std::size_t>(stored.elements()));
  to_float(stored.view().data, stored.dtype(), stored.elements(), all.data());
  if (all.size() == 1) return all;
  const auto first = all.begin() + piece.range.row_begin;
  return std::vector<float>(first, first + piece.range.rows);
}

void append(std::vector<Run>& runs, DType dtype, float scale, ByteSpan bytes) {
  if (runs.empty() || runs.back().dtype != dtype || runs.back().scale != scale)
    runs.push_back({dtype, scale, {}, 0});
  runs.back().parts.push_back(bytes);
  runs.back().bytes += bytes.size();
}

Result<std::vector<Run>> read_runs(const Weights& weights, const CanonicalTensor& tensor) {
  std::vector<Run> runs;
  for (const Piece& piece : tensor.pieces) {
    PINION_TRY(const Tensor whole, weights.tensor(piece.range.tensor));
    PINION_TRY(const std::vector<float> scales, read_scales(weights, piece));
    const std::size_t row_bytes = whole.bytes() / static_cast<std::size_t>(piece.range.file_rows);
    const ByteSpan rows =
        whole.view().span().subspan(static_cast<std::size_t>(piece.range.row_begin) * row_bytes,
                                    static_cast<std::size_t>(piece.range.rows) * row_bytes);
    if (scales.size() == 1) {
      append(runs, piece.dtype, scales.front(), rows);
      continue;
    }
    for (std::size_t row = 0; row < scales.size(); ++row) {
      append(runs, piece.dtype, scales[row], rows.subspan(row * row_bytes, row_bytes));
    }
  }
  return runs;
}

Result<Digest> hash_tensor(const Weights& weights, const CanonicalTensor& tensor) {
  PINION_TRY(const std::vector<Run> runs, read_runs(weights, tensor));
  Sha256 hash;
  hash.update(fmt::format("{}\n{}\n", tensor.name, to_string(tensor.shape)));
  for (const Run& run : runs) {
    hash.update(fmt::format("{} {:a} {}\n", name(run.dtype), run.scale, run.bytes));
    for (const ByteSpan part : run.parts) hash.update(part);
  }
  return hash.finish();
}

Result<Digest> hash_group(const Weights& weights, const TensorGroup& group) {
  Sha256 hash;
  hash.update(group.name + "\n");
  for (const CanonicalTensor& tensor : group.tensors) {
    PINION_TRY(const Digest digest, hash_tensor(weights, tensor));
    hash.update(ByteSpan(digest));
  }
  return hash.finish();
}

// Groups are independent, so a big model is hashed at the speed of the disk rather than of one core.
Result<std::vector<Digest>> hash_groups(const Checkpoint& checkpoint) {
  const std::vector<TensorGroup>& groups = checkpoint.groups();
  std::vector<Digest> digests(groups.size());
  std::vector<std::optional<Error>> failures(groups.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < groups.size(); i = next++) {
      auto digest = hash_group(checkpoint.weights(), groups[i]);
      if (digest.ok()) {
        digests[i] = *digest;
      } else {
        failures[i] = std::move(digest).error();
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1u, kMaxThreads);
    for (unsigned i = 1; i < threads; ++i) helpers.emplace_back(work);
    work();
  }
  for (std::optional<Error>& failure : failures) {
    if (failure) return *std::move(failure);
  }
  return digests;
}

// What a cached hash is valid for.
Result<std::string> cache_key(const Checkpoint& checkpoint, std::string_view family) {
  std::string key = fmt::format("{}\n{}\n", kHashVersion, family);
  for (const fs::path& file : checkpoint.weights().files()) {
    std::error_code failure;
    const fs::path absolute = fs::canonical(file, failure);
    const auto size = failure ? 0 : fs::file_size(absolute, failure);
    const auto time = failure ? fs::file_time_type() : fs::last_write_time(absolute, failure);
    if (failure) return Error{Errc::kIo, file.string() + ": " + failure.message(), ""};
    key += fmt::format("{}\n{}\n{}\n", absolute.string(), size, time.time_since_epoch().count());
  }
  return key;
}

fs::path cache_file(const std::string& key) {
  return cache_folder() / "weights" / (to_hex(sha256(as_bytes(key))) + ".json");
}

std::optional<std::string> read_cached(const std::string& key) {
  const auto bytes = read_file(cache_file(key), kMaxCacheEntryBytes);
  if (!bytes.ok()) return std::nullopt;
  const auto json = nlohmann::json::parse(as_text(*bytes), nullptr, false);
  if (!json.is_object() || json.value("key", nlohmann::json()) != key) return std::nullopt;
  const nlohmann::json hash = json.value("hash", nlohmann::json());
  if (!hash.is_string() || hash.get<std::string>().size() != 2 * sizeof(Digest)) return std::nullopt;
  return hash.get<std::string>();
}

}  // namespace

Result<std::string> hash_weights(const Checkpoint& checkpoint, std::string_view family) {
  PINION_TRY(const std::vector<Digest> digests, hash_groups(checkpoint));
  Sha256 root;
  root.update(fmt::format("{}\n{}\n", kHashVersion, family));
  for (const Digest& digest : digests) root.update(ByteSpan(digest));
  return to_hex(root.finish());
}

Result<std::string> cached_hash(const Checkpoint& checkpoint, std::string_view family) {
  PINION_TRY(const std::string key, cache_key(checkpoint, family));
  if (auto known = read_cached(key)) return *std::move(known);
  PINION_TRY(std::string hash, hash_weights(checkpoint, family));
  const std::string entry = nlohmann::json{{"key", key}, {"hash", hash}}.dump();
  if (const auto written = write_file(cache_file(key), as_bytes(entry)); !written.ok()) {
    spdlog::warn("the hash of {} is not kept: {}", checkpoint.weights().path().string(),
                 written.error().message());
  }
  return hash;
}

std::optional<std::string> known_hash(const Checkpoint& checkpoint, std::string_view family) {
  const auto key = cache_key(checkpoint, family);
  return key.ok() ? read_cached(*key) : std::nullopt;
}

}  // namespace pinion::models
