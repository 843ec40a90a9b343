#include "pinion/codec/basis_store.h"

#include <algorithm>

#include "pinion/base/file_io.h"
#include "pinion/base/log.h"
#include "pinion/base/sha256.h"

namespace pinion::codec {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBasisBytes = std::size_t{64} << 20;
constexpr const char* kSuffix = ".basis";

struct StoredFile {
  fs::path path;
  fs::file_time_type time;
  std::size_t bytes;
};

// Newest first; empty if the folder is not there.
std::vector<StoredFile> stored_files(const fs::path& folder) {
  std::vector<StoredFile> files;
  std::error_code code;
  for (fs::recursive_directory_iterator at(folder, code), end; !code && at != end; at.increment(code)) {
    std::error_code gone;  // another process may remove it meanwhile
    const fs::file_time_type time = at->last_write_time(gone);
    const std::size_t bytes = gone ? 0 : at->file_size(gone);
    if (!gone && at->path().extension() == kSuffix) files.push_back({at->path(), time, bytes});
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

std::vector<Bytes> BasisStore::load(const BasisPlace& place) const {
  std::vector<Bytes> bases;
  if (folder_.empty()) return bases;
  for (const StoredFile& file : stored_files(folder_of(place))) {
    if (bases.size() == kBasesPerPlace) break;
    Result<Bytes> basis = read_file(file.path, kMaxBasisBytes);
    if (!basis.ok() || basis_hash(*basis) != file.path.stem().string()) continue;
    bases.push_back(std::move(basis).value());
  }
  return bases;
}

void BasisStore::keep(const BasisPlace& place, ByteSpan basis) const {
  if (folder_.empty() || basis.size() > kMaxBasisBytes) return;
  const fs::path folder = folder_of(place);
  const Result<void> written = write_file(folder / (basis_hash(basis) + kSuffix), basis);
  if (!written.ok()) {
    spdlog::warn("a codec basis is not kept for the next job: {}", written.error().message());
    return;
  }
  const std::vector<StoredFile> files = stored_files(folder);
  for (std::size_t i = kBasesPerPlace; i < files.size(); ++i) remove(files[i]);
  make_room();
}

void BasisStore::make_room() const {
  std::size_t total = 0;
  for (const StoredFile& file : stored_files(folder_)) {
    total += file.bytes;
    if (total > kMaxBytes) remove(file);
  }
}

Result<std::unique_ptr<Encoder>> create_encoder(const Profile& profile, const BasisStore& store,
                                                const BasisPlace& place,
                                                const std::vector<std::string>& known,
                                                const EncoderOptions& options) {
  PINION_TRY(auto encoder, Encoder::create(profile, options));
  if (profile.mode != Mode::kFidelity) return encoder;
  const auto is_known = [&](const Bytes& basis) {
    return std::ranges::find(known, basis_hash(basis)) != known.end();
  };
  std::vector<Bytes> bases = store.load(place);
  std::stable_partition(bases.begin(), bases.end(), is_known);
  if (bases.empty()) return encoder;
  if (is_known(bases.front())) encoder->assume_known_basis(basis_hash(bases.front()));
  const Result<void> offered = encoder->offer_basis(bases.front());
  if (!offered.ok()) spdlog::warn("a kept codec basis is of no use: {}", offered.error().message());
  return encoder;
}

}  // namespace pinion::codec
