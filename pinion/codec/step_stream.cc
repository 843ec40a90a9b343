#include "pinion/codec/step_stream.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "pinion/codec/fidelity/basis.h"
#include "pinion/codec/stream_split.h"
#include "pinion/codec/tensor_error.h"

namespace pinion::codec {
namespace {

constexpr unsigned kMostThreads = 4;
constexpr double kVelocityMarginDb = 12;  // docs/protocol.md, section 5
constexpr double kMaxVelocityDb = 60;     // float16 holds no more
constexpr double kMostReferenceDb = 24;   // docs/protocol.md, section 5
// From here on predicting from latents of 4 bits costs frames more than the 4 bits that it saves.
constexpr double kFineLatentsDb = 40;

CalibratedTarget target_of(const Profile& profile) {
  return {.output_snr_db = profile.target_snr_db, .frame_bytes = profile.budget_bytes};
}

// A stream without latents is given none.
StepContext fitted(StepContext context, std::size_t latents) {
  if (latents == 0) context.latents = context.previous_latents = {};
  return context;
}

}  // namespace

Profile velocity_profile(const Profile& states) {
  switch (states.mode) {
    case Mode::kFidelity:
      return {.mode = Mode::kFidelity,
              .target_snr_db = std::min(states.target_snr_db + kVelocityMarginDb, kMaxVelocityDb)};
    case Mode::kCalibrated:
      return states;
    default:
      return {.mode = Mode::kLossless, .target_snr_db = 0};
  }
}

Profile latents_profile(const Profile& states) {
  if (states.mode != Mode::kCalibrated) return {.mode = Mode::kLossless, .target_snr_db = 0};
  const bool is_fine = states.budget_bytes == 0 && states.target_snr_db >= kFineLatentsDb;
  return {.mode = is_fine ? Mode::kInt8 : Mode::kInt4, .target_snr_db = 0};
}

Profile reference_profile(const Profile& states) {
  const double target = states.budget_bytes > 0 ? kMostReferenceDb : states.target_snr_db;
  return {.mode = Mode::kFidelity, .target_snr_db = std::min(target, kMostReferenceDb)};
}

int job_threads() {
  static const int threads =
      static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, kMostThreads));
  return threads;
}

Result<StreamSender> StreamSender::create(SenderSettings settings, const BasisStore& bases) {
  if (settings.profile.mode == Mode::kCalibrated && settings.place.stream == kReferenceStream) {
    settings.profile = reference_profile(settings.profile);
  }
  StreamSender sender(std::move(settings), bases);
  const SenderSettings& own = sender.settings_;
  if (own.profile.mode != Mode::kCalibrated) {
    KeptAssets kept;
    if (own.profile.mode == Mode::kFidelity) kept = bases.load_all(own.place);
    if (own.keeps_decoded && !is_exact(own.profile.mode)) {
      sender.twin_ = Decoder::create(own.encoding.threads);
      for (const std::vector<Bytes>* assets : {&kept.bases, &kept.maps}) {
        for (const Bytes& asset : *assets) static_cast<void>(sender.twin_->add_basis(asset, kOwnBasisLimits));
      }
    }
    PINION_TRY(sender.encoder_, create_encoder(own.profile, std::move(kept), own.known_bases, own.encoding));
    return sender;
  }
  if (own.calibration == nullptr) {
    return Error{
        Errc::kInvalidArgument,
        "there is no calibration of \"" + own.place.stream + "\" at cut " + std::to_string(own.place.cut),
        "make one with `pinion calibrate --cut " + std::to_string(own.place.cut) +
            "` and give it with --calibration"};
  }
  PINION_TRY(auto encoder,
             CalibratedEncoder::create(own.calibration, target_of(own.profile), own.encoding.threads));
  sender.calibrated_ = std::make_unique<Calibrated>(
      Calibrated{std::move(encoder), CalibratedDecoder(own.calibration, own.encoding.threads),
                 own.calibration->latents()});
  return sender;
}

Result<EncodedFrame> StreamSender::encode_calibrated(Calibrated& calibrated, const Tensor& tensor,
                                                     const StepContext& context) {
  const StepContext own = fitted(context, calibrated.latents);
  if (!settings_.step_streams.empty()) {
    const auto at =
        std::ranges::find(settings_.step_streams, settings_.calibration, &StepStream::calibration);
    PINION_ASSERT(at != settings_.step_streams.end());
    calibrated.encoder.set_target(share_of(target_of(settings_.profile), settings_.step_streams,
                                           static_cast<std::size_t>(at - settings_.step_streams.begin()),
                                           context));
  }
  PINION_TRY(CalibratedFrame coded, calibrated.encoder.encode(tensor.view(), own));
  EncodedFrame encoded;
  encoded.frame = std::move(coded.frame);
  if (settings_.keeps_decoded || settings_.encoding.measured) {
    PINION_TRY_VOID(decode_twin(calibrated, tensor, own, encoded));
  }
  encoded.stats.frame_bytes = encoded.frame.size();
  encoded.stats.tensor_bytes = tensor.bytes();
  encoded.stats.elements = tensor.elements();
  encoded.stats.ideal_index_bits = coded.stats.ideal_index_bits;
  encoded.stats.output_snr_db = coded.stats.predicted_output_snr_db;
  encoded.stats.key_frame = coded.stats.key_frame;
  return encoded;
}

std::vector<float> StreamSender::correction(const Tensor& tensor, const StepContext& context) {
  if (!calibrated_) return {};
  return calibrated_->encoder.correction(tensor.view(), fitted(context, calibrated_->latents));
}

// Fills decoded_ and, where wanted, the errors among the frame's stats.
Result<void> StreamSender::decode_twin(Calibrated& calibrated, const Tensor& tensor,
                                       const StepContext& context, EncodedFrame& encoded) {
  PINION_TRY(decoded_, calibrated.twin.decode(encoded.frame, context, {.max_tensor_bytes = tensor.bytes()}));
  if (!settings_.encoding.measured) return {};
  ChunkPool alone;
  CentredTensor original;
  PINION_TRY_VOID(centre(tensor.view(), alone, original));
  encoded.stats = measure(original, decoded_.view(), alone);
  return {};
}

Result<EncodedFrame> StreamSender::encode(const Tensor& tensor, const StepContext& context) {
  if (calibrated_) return encode_calibrated(*calibrated_, tensor, context);
  const bool knows_rows = settings_.has_latent_rows && rows_of(tensor.shape()) == context.output_rows;
  const auto latents = knows_rows ? context.latents : std::span<const float>();
  PINION_TRY(EncodedFrame encoded, encoder_->encode(tensor.view(), latents));
  if (!encoded.basis.empty()) bases_->keep(settings_.place, encoded.basis, encoded.basis_kind);
  if (settings_.keeps_lessons && !latents.empty() && !std::exchange(has_kept_lessons_, true)) {
    if (const Bytes lessons = encoder_->lessons(); !lessons.empty())
      bases_->keep(settings_.place, lessons, AssetKind::kLessons);
  }
  if (twin_) {
    if (!encoded.basis.empty()) PINION_TRY_VOID(twin_->add_basis(encoded.basis, kOwnBasisLimits));
    PINION_TRY(decoded_, twin_->decode(encoded.frame, latents, {.max_tensor_bytes = tensor.bytes()}));
  }
  if (settings_.keeps_decoded && is_exact(settings_.profile.mode)) decoded_ = tensor;
  return encoded;
}

StreamReceiver::StreamReceiver(std::shared_ptr<const Calibration> calibration, bool has_latent_rows,
                               int threads)
    : decoder_(Decoder::create(threads)), has_latent_rows_(has_latent_rows) {
  if (calibration == nullptr) return;
  latents_ = calibration->latents();
  calibrated_.emplace(std::move(calibration), threads);
}

Result<Tensor> StreamReceiver::decode(ByteSpan frame, const StepContext& context,
                                      const DecodeLimits& limits) {
  if (calibrated_) {
    PINION_TRY(const FrameInfo info, inspect(frame, limits));
    if (info.mode == Mode::kCalibrated) return calibrated_->decode(frame, fitted(context, latents_), limits);
  }
  return decoder_->decode(frame, has_latent_rows_ ? context.latents : std::span<const float>(), limits);
}

}  // namespace pinion::codec
