#include <limits>
#include <set>

#include "pinion/base/sha256.h"
#include "pinion/codec/fidelity/basis_choice.h"
#include "pinion/codec/lossless/lossless_codec.h"

namespace pinion::codec {
namespace {

constexpr std::int64_t kMinRows = 2;          // below, nothing is left once the means are gone
constexpr double kWorthTryingLossless = 0.5;  // of the raw size: a fidelity frame above may be larger than an
                                              // exact one

bool has_fidelity(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

bool has_lossless(DType dtype) {
  return has_fidelity(dtype) || dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2;
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
  explicit StreamEncoder(const Profile& profile)
      : profile_(profile), lossless_(pool_, profile.mode == Mode::kLossless) {}

  Result<EncodedFrame> encode(const TensorView& tensor) override {
    if (!tensor.device.is_cpu()) {
      return Error{Errc::kUnsupported, "the codec cannot read a tensor on " + name(tensor.device),
                   "copy it to the CPU first"};
    }
    if (profile_.mode != Mode::kFidelity || !has_fidelity(tensor.dtype)) return encode_exact(tensor);
    return encode_fidelity_or_exact(tensor);
  }

  void restart() override {
    lossless_.restart();
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

  Result<EncodedFrame> encode_fidelity_or_exact(const TensorView& tensor) {
    if (tensor.elements() == 0) return encode_exact(tensor);
    PINION_TRY(const CentredTensor centred, centre(tensor));
    if (rows_of(tensor.shape) < kMinRows || centred.energy == 0) return encode_exact(tensor);
    std::optional<ChosenFrame> chosen = chooser_.encode(tensor, centred, profile_.target_snr_db);
    if (!chosen) return encode_exact(tensor);

    EncodedFrame encoded;
    encoded.frame = std::move(chosen->coded.frame);
    if (static_cast<double>(encoded.frame.size()) >
        kWorthTryingLossless * static_cast<double>(tensor.bytes())) {
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
  ChunkPool pool_;
  LosslessEncoder lossless_;  // for the lossless profile, and where another one has to be exact
  BasisChooser chooser_;
  std::set<std::string, std::less<>> known_;  // bases that the other side holds from elsewhere,
  std::set<std::string, std::less<>> sent_;   // and those it got from here since the last restart
};

}  // namespace

Result<std::unique_ptr<Encoder>> Encoder::create(const Profile& profile) {
  if (profile.mode == Mode::kFidelity && !(profile.target_snr_db > 0 && profile.target_snr_db <= 100)) {
    return Error{Errc::kInvalidArgument, "the fidelity target must be more than 0 and at most 100 dB", ""};
  }
  return std::unique_ptr<Encoder>(std::make_unique<StreamEncoder>(profile));
}

}  // namespace pinion::codec
