#pragma once
// Bases that outlive a job: files in a folder of the user's cache, so that the next job at the same place
// begins with the rotation that the last one learned and need not send it again (docs/protocol.md, section
// 5).
//
// Thread-safe, also between processes: files are renamed into place. A store that cannot be read or written
// costs only its memory; failures are logged.

#include <filesystem>
#include <string>
#include <vector>

#include "pinion/codec/codec.h"

namespace pinion::codec {

// Where a basis fits: one stream at one cut of one model.
struct BasisPlace {
  std::string model_hash;
  int cut = 0;
  std::string stream;
};

// What is kept for a place, newest first, as one look found it: with two jobs at once it may be other assets
// a moment later.
struct KeptAssets {
  std::vector<Bytes> bases, maps, lessons;
};

class BasisStore {
 public:
  static constexpr std::size_t kAssetsPerPlace = 2;               // of each kind
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 30;  // of all places; the oldest leave

  // An empty path makes a store that keeps nothing, one that keeps nothing new stays as it is.
  explicit BasisStore(std::filesystem::path folder, bool keeps_new = true)
      : folder_(std::move(folder)), keeps_new_(keeps_new) {}

  // Newest first, at most kAssetsPerPlace. Files that are damaged are passed over.
  std::vector<Bytes> load(const BasisPlace& place, AssetKind kind) const;
  // Bases and maps: what a receiver may need.
  std::vector<Bytes> load(const BasisPlace& place) const;
  KeptAssets load_all(const BasisPlace& place) const;

  void keep(const BasisPlace& place, ByteSpan basis, AssetKind kind) const;

 private:
  std::filesystem::path folder_of(const BasisPlace& place) const;
  void make_room() const;

  std::filesystem::path folder_;
  bool keeps_new_;
};

// basis_hash() of each.
std::vector<std::string> basis_hashes(const std::vector<Bytes>& assets);

// What an asset is to the frame that came with it.
AssetKind kind_of_asset(ByteSpan asset, ByteSpan frame, const DecodeLimits& limits);

// An encoder that starts with a kept basis and a kept map, above all with those of `known`: the hashes of
// what the other side holds, which is not sent again.
Result<std::unique_ptr<Encoder>> create_encoder(const Profile& profile, KeptAssets kept,
                                                const std::vector<std::string>& known,
                                                const EncoderOptions& options = {});

}  // namespace pinion::codec
