#include <cmath>
#include <limits>
#include <set>

#include "pinion/base/sha256.h"
#include "pinion/codec/bounded/bounded_codec.h"
#include "pinion/codec/fidelity/basis_choice.h"
#include "pinion/codec/groups/group_codec.h"
#include "pinion/codec/lossless/lossless_codec.h"
#include "pinion/codec/tensor_error.h"

namespace pinion::codec {
namespace {

constexpr std::int64_t kMinRows = 2;          // below, nothing is left once the means are gone
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

  Result<EncodedFrame> encode(const TensorView& tensor) override {
    if (!tensor.device.is_cpu()) {
      return Error{Errc::kUnsupported, "the codec cannot read a tensor on " + name(tensor.device),
                   "copy it to the CPU first"};
    }
    if (!has_fidelity(tensor.dtype) || tensor.elements() == 0) return encode_exact(tensor);
    switch (profile_.mode) {
      case Mode::kFidelity:
        return encode_fidelity_or_exact(tensor);
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

  Result<EncodedFrame> encode_fidelity_or_exact(const TensorView& tensor) {
    PINION_TRY_VOID(centre(tensor, pool_, centred_));
    const CentredTensor& centred = centred_;
    if (rows_of(tensor.shape) < kMinRows || centred.energy == 0) return encode_exact(tensor);
    std::optional<ChosenFrame> chosen = chooser_.encode(tensor, centred, profile_.target_snr_db);
    if (!chosen) return encode_exact(tensor);

    EncodedFrame encoded;
    encoded.frame = std::move(chosen->coded.frame);
    if (is_large(encoded.frame, tensor)) {
      PINION_TRY(EncodedFrame exact, encode_exact(tensor));
      if (exact.frame.size() <= encoded.frame.size()) return exact;
    }
    if (chosen->fit) {
      const std::string hash = to_hex(chosen->fit->basis->id);
      if (!known_.contains(hash) && sent_.insert(hash).second) encoded.basis = chosen->fit->asset;
    }
    encoded.stats = chosen->coded.stats;
    encoded.stats.basis_bytes = encoded.basis.size();
    encoded.stats.key_frame = chosen->key_frame;
    chooser_.commit(std::move(*chosen));
    return encoded;
  }

  Profile profile_;
  bool measured_;
  ChunkPool pool_;
  LosslessEncoder lossless_;  // for the lossless profile, and where another one has to be exact
  BoundedEncoder bounded_;
  BasisChooser chooser_;
  CentredTensor centred_;                     // the last one, for its memory
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
