#include <cmath>
#include <limits>
#include <set>

#include "pinion/base/sha256.h"
#include "pinion/codec/bounded/bounded_codec.h"
#include "pinion/codec/fidelity/basis_choice.h"
#include "pinion/codec/groups/group_codec.h"
#include "pinion/codec/lossless/lossless_codec.h"
#include "pinion/codec/mapped/map_choice.h"
#include "pinion/codec/math/all_finite.h"
#include "pinion/codec/tensor_error.h"

namespace pinion::codec {
namespace {

constexpr std::int64_t kMinRows = 2;  // below, nothing is left once the means are gone
constexpr double kLeastTargetDb = 0.1;
constexpr double kWorthTryingLossless = 0.5;  // of the raw size

bool has_fidelity(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

bool has_lossless(DType dtype) {
  return has_fidelity(dtype) || dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2;
}

// Whether exact and bounded frames may; a fidelity stream falls back to an exact frame too rarely.
bool may_predict(const Profile& profile) {
  return profile.mode == Mode::kLossless || profile.mode == Mode::kBounded;
}

// Mean squared error of a row that rounding to the element type makes: half a unit in the last place at most,
// as numbers fall.
double rounding_error(DType dtype, const CentredTensor& centred) {
  constexpr double kOfUnit = 0.045;  // a twelfth, over the mean square of a mantissa
  double length = centred.energy;
  for (const double mean : centred.means) length += mean * mean;
  const int digits = dtype == DType::kBF16 ? 7 : dtype == DType::kF16 ? 10 : 23;
  return length * std::ldexp(kOfUnit, -2 * digits);
}

// Whether it maps so many latents to such rows.
bool fits(const Matrix& map, std::size_t latents, const Matrix& rows) {
  return map.columns == rows.columns && map.rows * rows.rows == latents;
}

FrameStats exact_stats(const TensorView& tensor, std::size_t frame_bytes) {
  FrameStats stats;
  stats.frame_bytes = frame_bytes;
  stats.tensor_bytes = tensor.bytes();
  stats.elements = tensor.elements();
  stats.snr_db = std::numeric_limits<double>::infinity();
  stats.cosine = 1;
  return stats;
}

class StreamEncoder final : public Encoder {
 public:
  StreamEncoder(const Profile& profile, const EncoderOptions& options)
      : profile_(profile),
        measured_(options.measured),
        pool_(options.threads),
        lossless_(pool_, may_predict(profile)),
        bounded_(pool_, {profile.error_bound, profile.bound_is_relative}, may_predict(profile)),
        chooser_(pool_) {}

  using Encoder::encode;
  Result<EncodedFrame> encode(const TensorView& tensor, std::span<const float> latents) override {
    if (!tensor.device.is_cpu()) {
      return Error{Errc::kUnsupported, "the codec cannot read a tensor on " + name(tensor.device),
                   "copy it to the CPU first"};
    }
    if (!has_fidelity(tensor.dtype) || tensor.elements() == 0) return encode_exact(tensor);
    switch (profile_.mode) {
      case Mode::kFidelity:
        return encode_fidelity_or_exact(tensor, latents);
      case Mode::kBounded:
        return encode_bounded_or_exact(tensor);
      case Mode::kInt8:
      case Mode::kInt4:
        return encode_in_groups(tensor);
      default:
        return encode_exact(tensor);
    }
  }

  void restart() override {
    lossless_.restart();
    bounded_.restart();
    chooser_.forget_state();
    sent_.clear();
  }

  void assume_known_basis(std::string_view hash) override { known_.emplace(hash); }

  Result<void> offer_basis(ByteSpan basis) override { return chooser_.offer(basis); }
  Result<void> offer_map(ByteSpan map) override { return maps_.offer(map); }
  Result<void> offer_lessons(ByteSpan lessons) override { return maps_.offer_sums(lessons); }
  Bytes lessons() const override { return maps_.sums(); }

 private:
  Result<EncodedFrame> encode_exact(const TensorView& tensor) {
    EncodedFrame encoded;
    bool key_frame = true;
    if (profile_.mode != Mode::kRaw && has_lossless(tensor.dtype)) {
      LosslessEncoder::Frame frame = lossless_.encode(tensor);
      encoded.frame = std::move(frame.bytes);
      key_frame = frame.key_frame;
    } else {
      encoded.frame =
          write_frame({Mode::kRaw, tensor.dtype, tensor.shape, std::nullopt, std::nullopt}, tensor.span());
    }
    encoded.stats = exact_stats(tensor, encoded.frame.size());
    encoded.stats.key_frame = key_frame;
    return encoded;
  }

  FrameStats lossy_stats(const TensorView& tensor, const TensorView& decoded, std::size_t frame_bytes) const {
    FrameStats stats = measured_ ? measure(tensor, decoded) : FrameStats{};
    stats.frame_bytes = frame_bytes;
    stats.tensor_bytes = tensor.bytes();
    stats.elements = tensor.elements();
    return stats;
  }

  Result<EncodedFrame> encode_bounded_or_exact(const TensorView& tensor) {
    BoundedEncoder::Frame frame = bounded_.encode(tensor);
    if (is_large(frame.bytes, tensor)) {
      PINION_TRY(EncodedFrame exact, encode_exact(tensor));
      if (exact.frame.size() <= frame.bytes.size()) {
        bounded_.restart();
        return exact;
      }
    }
    lossless_.restart();  // what it made was not sent
    EncodedFrame encoded;
    encoded.stats = lossy_stats(tensor, bounded_.decoded(), frame.bytes.size());
    encoded.stats.key_frame = frame.key_frame;
    encoded.frame = std::move(frame.bytes);
    return encoded;
  }

  Result<EncodedFrame> encode_in_groups(const TensorView& tensor) {
    // Short rows have more scales than they are worth.
    if (group_body_bytes(profile_.mode, tensor.shape) >= tensor.bytes()) return encode_exact(tensor);
    EncodedFrame encoded;
    PINION_TRY(encoded.frame, encode_groups(profile_.mode, tensor, pool_));
    const FrameHeader header{profile_.mode, tensor.dtype, tensor.shape, std::nullopt, std::nullopt};
    Tensor decoded;
    if (measured_) {
      const ParsedFrame parsed =
          parse_frame(encoded.frame, {.max_tensor_bytes = tensor.bytes(),
                                      .max_channels = static_cast<std::size_t>(channels_of(tensor.shape))})
              .value();
      PINION_TRY(decoded, decode_groups(header, parsed.body, pool_));
    }
    encoded.stats = lossy_stats(tensor, decoded, encoded.frame.size());
    return encoded;
  }

  // A lossy frame may be larger than an exact one.
  static bool is_large(const Bytes& frame, const TensorView& tensor) {
    return static_cast<double>(frame.size()) > kWorthTryingLossless * static_cast<double>(tensor.bytes());
  }

  // Whether the other side holds an asset, or got it before this frame.
  bool is_held(const BasisId& id) const {
    const std::string hash = to_hex(id);
    return known_.contains(hash) || sent_.contains(hash);
  }

  Result<EncodedFrame> encode_fidelity_or_exact(const TensorView& tensor, std::span<const float> latents) {
    PINION_TRY_VOID(centre(tensor, pool_, centred_));
    if (rows_of(tensor.shape) < kMinRows || centred_.energy == 0) return encode_exact(tensor);
    const double target = centred_.energy * std::pow(10, -profile_.target_snr_db / 10);
    std::optional<EncodedFrame> encoded = encode_about_map(tensor, latents, target);
    if (!encoded) encoded = encode_fidelity(tensor);
    if (!encoded) return encode_exact(tensor);
    if (is_large(encoded->frame, tensor)) {
      PINION_TRY(EncodedFrame exact, encode_exact(tensor));
      if (exact.frame.size() <= encoded->frame.size()) return exact;
    }
    if (!encoded->basis.empty()) sent_.insert(basis_hash(encoded->basis));
    encoded->stats.basis_bytes = encoded->basis.size();
    chooser_.commit(std::move(*chosen_));
    return *std::move(encoded);
  }

  // Nothing if the target is out of reach. Leaves what is to be committed in chosen_.
  std::optional<EncodedFrame> encode_fidelity(const TensorView& tensor) {
    chosen_ = chooser_.encode(tensor, centred_, profile_.target_snr_db);
    if (!chosen_) return std::nullopt;
    EncodedFrame encoded = of_chosen();
    encoded.frame = std::move(chosen_->coded.frame);
    return encoded;
  }

  // All but the frame.
  EncodedFrame of_chosen() const {
    EncodedFrame encoded;
    if (chosen_->fit && !is_held(chosen_->fit->basis->id)) encoded.basis = chosen_->fit->asset;
    encoded.stats = chosen_->coded.stats;
    encoded.stats.key_frame = chosen_->key_frame;
    return encoded;
  }

  // The same about what a map makes of the latents; nothing also if no map pays. `target` is the mean squared
  // error of a row that is allowed.
  std::optional<EncodedFrame> encode_about_map(const TensorView& tensor, std::span<const float> latents,
                                               double target) {
    if (latents.empty() || latents.size() % centred_.values.rows != 0 || !all_finite(latents))
      return std::nullopt;
    target -= rounding_error(tensor.dtype, centred_);
    if (!(target > 0)) return std::nullopt;
    if (!chooser_.has_state()) {
      const MapFit* const kept = maps_.current();
      maps_.choose({centred_, latents, target, kept != nullptr && is_held(kept->map->id)});
    }
    const MapFit* const map = maps_.current();
    if (map == nullptr || !fits(map->map->rows, latents.size(), centred_.values)) return std::nullopt;
    Matrix mapped = map_latents(latents, map->map->rows);
    left_ = centred_.values;
    for (std::size_t i = 0; i < left_.values.size(); ++i) left_.values[i] -= mapped.values[i];
    const TensorView left{std::as_bytes(std::span(left_.values)).data(), DType::kF32, tensor.shape, Device()};
    if (!centre(left, pool_, centred_left_).ok() || centred_left_.energy == 0) return std::nullopt;
    const double left_db = std::max(kLeastTargetDb, 10 * std::log10(centred_left_.energy / target));
    const bool is_new = !is_held(map->map->id);
    // A frame brings one asset at most.
    const BasisFit* const basis = chooser_.current();
    const BasisUse use = !is_new                                         ? BasisUse::kAny
                         : basis != nullptr && is_held(basis->basis->id) ? BasisUse::kCurrent
                                                                         : BasisUse::kNone;
    chosen_ = chooser_.encode(left, centred_left_, left_db, use);
    if (!chosen_) return std::nullopt;
    const FrameHeader header{Mode::kMapped, tensor.dtype, tensor.shape, map->map->id, std::nullopt};
    const Tensor decoded = join_mapped(header, std::move(mapped), chosen_->coded.decoded);
    EncodedFrame encoded = of_chosen();
    if (is_new) {
      encoded.basis = map->asset;
      encoded.basis_kind = AssetKind::kMap;
    }
    encoded.frame = write_mapped_frame(tensor.dtype, tensor.shape, map->map->id, chosen_->coded.frame);
    FrameStats stats = measure(centred_, decoded, pool_);
    stats.frame_bytes = encoded.frame.size();
    stats.ideal_index_bits = encoded.stats.ideal_index_bits;
    stats.key_frame = encoded.stats.key_frame;
    encoded.stats = stats;
    return encoded;
  }

  Profile profile_;
  bool measured_;
  ChunkPool pool_;
  LosslessEncoder lossless_;  // for the lossless profile, and where another one has to be exact
  BoundedEncoder bounded_;
  BasisChooser chooser_;
  MapChooser maps_;
  std::optional<ChosenFrame> chosen_;  // of the frame at hand
  // Of the last frame, for their memory: the tensor, and what a map leaves of it.
  CentredTensor centred_, centred_left_;
  Matrix left_;
  std::set<std::string, std::less<>> known_;  // bases that the other side holds from elsewhere,
  std::set<std::string, std::less<>> sent_;   // and those it got from here since the last restart
};

}  // namespace

Result<std::unique_ptr<Encoder>> Encoder::create(const Profile& profile, const EncoderOptions& options) {
  if (profile.mode == Mode::kFidelity && !(profile.target_snr_db > 0 && profile.target_snr_db <= 100)) {
    return Error{Errc::kInvalidArgument, "the fidelity target must be more than 0 and at most 100 dB", ""};
  }
  if (profile.mode == Mode::kBounded && !(profile.error_bound > 0 && std::isfinite(profile.error_bound))) {
    return Error{Errc::kInvalidArgument, "the error bound must be more than 0 and finite", ""};
  }
  return std::unique_ptr<Encoder>(std::make_unique<StreamEncoder>(profile, options));
}

}  // namespace pinion::codec
