#include "pinion/codec/basis_store.h"

#include <algorithm>
#include <array>

#include "pinion/base/file_io.h"
#include "pinion/base/log.h"
#include "pinion/base/sha256.h"

namespace pinion::codec {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBasisBytes = std::size_t{64} << 20;

// Of the files of a kind.
std::string suffix(AssetKind kind) {
  switch (kind) {
    case AssetKind::kBasis:
      return ".basis";
    case AssetKind::kMap:
      return ".map";
    case AssetKind::kLessons:
      break;
  }
  return ".lessons";
}

struct StoredFile {
  fs::path path;
  fs::file_time_type time;
  std::size_t bytes;
};

bool is_asset(const fs::path& extension) {
  return std::ranges::any_of(std::array{AssetKind::kBasis, AssetKind::kMap, AssetKind::kLessons},
                             [&](AssetKind kind) { return extension == suffix(kind); });
}

// Newest first, of one kind or both; empty if the folder is not there.
std::vector<StoredFile> stored_files(const fs::path& folder, std::optional<AssetKind> kind) {
  std::vector<StoredFile> files;
  std::error_code code;
  for (fs::recursive_directory_iterator at(folder, code), end; !code && at != end; at.increment(code)) {
    std::error_code gone;  // another process may remove it meanwhile
    const fs::file_time_type time = at->last_write_time(gone);
    const std::size_t bytes = gone ? 0 : at->file_size(gone);
    const fs::path extension = at->path().extension();
    if (gone || !(kind ? extension == suffix(*kind) : is_asset(extension))) continue;
    files.push_back({at->path(), time, bytes});
  }
  std::ranges::stable_sort(files, std::ranges::greater(), &StoredFile::time);
  return files;
}

void remove(const StoredFile& file) {
  std::error_code ignored;
  fs::remove(file.path, ignored);
}

}  // namespace

fs::path BasisStore::folder_of(const BasisPlace& place) const {
  const std::string name = place.model_hash + "/" + std::to_string(place.cut) + "/" + place.stream;
  return folder_ / to_hex(sha256(as_bytes(name))).substr(0, 32);
}

std::vector<Bytes> BasisStore::load(const BasisPlace& place, AssetKind kind) const {
  std::vector<Bytes> bases;
  if (folder_.empty()) return bases;
  for (const StoredFile& file : stored_files(folder_of(place), kind)) {
    if (bases.size() == kAssetsPerPlace) break;
    Result<Bytes> basis = read_file(file.path, kMaxBasisBytes);
    if (!basis.ok() || basis_hash(*basis) != file.path.stem().string()) continue;
    bases.push_back(std::move(basis).value());
  }
  return bases;
}

std::vector<Bytes> BasisStore::load(const BasisPlace& place) const {
  std::vector<Bytes> assets = load(place, AssetKind::kBasis);
  for (Bytes& map : load(place, AssetKind::kMap)) assets.push_back(std::move(map));
  return assets;
}

KeptAssets BasisStore::load_all(const BasisPlace& place) const {
  return {load(place, AssetKind::kBasis), load(place, AssetKind::kMap), load(place, AssetKind::kLessons)};
}

void BasisStore::keep(const BasisPlace& place, ByteSpan basis, AssetKind kind) const {
  if (folder_.empty() || !keeps_new_ || basis.size() > kMaxBasisBytes) return;
  const fs::path folder = folder_of(place);
  const Result<void> written = write_file(folder / (basis_hash(basis) + suffix(kind)), basis);
  if (!written.ok()) {
    spdlog::warn("a codec basis is not kept for the next job: {}", written.error().message());
    return;
  }
  const std::vector<StoredFile> files = stored_files(folder, kind);
  for (std::size_t i = kAssetsPerPlace; i < files.size(); ++i) remove(files[i]);
  make_room();
}

void BasisStore::make_room() const {
  std::size_t total = 0;
  for (const StoredFile& file : stored_files(folder_, std::nullopt)) {
    total += file.bytes;
    if (total > kMaxBytes) remove(file);
  }
}

std::vector<std::string> basis_hashes(const std::vector<Bytes>& assets) {
  std::vector<std::string> hashes;
  for (const Bytes& asset : assets) hashes.push_back(basis_hash(asset));
  return hashes;
}

AssetKind kind_of_asset(ByteSpan asset, ByteSpan frame, const DecodeLimits& limits) {
  const Result<FrameInfo> info = inspect(frame, limits);
  const bool is_map = info.ok() && info->mode == Mode::kMapped && info->basis_hash == basis_hash(asset);
  return is_map ? AssetKind::kMap : AssetKind::kBasis;
}

Result<std::unique_ptr<Encoder>> create_encoder(const Profile& profile, KeptAssets kept,
                                                const std::vector<std::string>& known,
                                                const EncoderOptions& options) {
  PINION_TRY(auto encoder, Encoder::create(profile, options));
  if (profile.mode != Mode::kFidelity) return encoder;
  const auto is_known = [&](const Bytes& basis) {
    return std::ranges::find(known, basis_hash(basis)) != known.end();
  };
  for (const Bytes& lessons : kept.lessons) {
    if (encoder->offer_lessons(lessons).ok()) break;
  }
  for (std::vector<Bytes>* assets : {&kept.bases, &kept.maps}) {
    std::stable_partition(assets->begin(), assets->end(), is_known);
    if (assets->empty()) continue;
    const Bytes& asset = assets->front();
    if (is_known(asset)) encoder->assume_known_basis(basis_hash(asset));
    const Result<void> offered =
        assets == &kept.maps ? encoder->offer_map(asset) : encoder->offer_basis(asset);
    if (!offered.ok()) spdlog::warn("a kept codec basis is of no use: {}", offered.error().message());
  }
  return encoder;
}

}  // namespace pinion::codec
