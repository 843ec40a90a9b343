#include "pinion/client/step_encoder.h"

#include <algorithm>
#include <utility>

#include "pinion/base/crc32c.h"
#include "pinion/base/float_formats.h"
#include "pinion/base/stopwatch.h"
#include "pinion/transport/latents_delta.h"

namespace pinion::client {
namespace {

using transport::Blob;

constexpr codec::Profile kExactLatents{.mode = codec::Mode::kLossless};

// What the latents cost when they are sent as a difference.
codec::FrameStats exact_stats(const Tensor& tensor, std::size_t bytes, bool key_frame) {
  codec::FrameStats stats;
  stats.frame_bytes = bytes;
  stats.tensor_bytes = tensor.bytes();
  stats.elements = tensor.elements();
  stats.snr_db = std::numeric_limits<double>::infinity();
  stats.cosine = 1;
  stats.key_frame = key_frame;
  return stats;
}

}  // namespace

Result<Blob> encode_constant(const Tensor& tensor) {
  PINION_TRY(const std::unique_ptr<codec::Encoder> encoder, codec::Encoder::create(kExactLatents));
  PINION_TRY(codec::EncodedFrame encoded, encoder->encode(tensor));
  return Blob::of(std::move(encoded.frame));
}

// What crosses the first cut in a step and shares a target: the states, and the velocity where it comes back
// over the same cut.
std::vector<codec::StepStream> StepEncoder::step_streams(const TensorList& state) const {
  std::vector<codec::StepStream> streams;
  if (setup_.state_profile.mode != codec::Mode::kCalibrated) return streams;
  for (const NamedTensor& entry : state) {
    if (const auto* found = setup_.calibrations.find(setup_.cut, entry.name)) {
      streams.push_back({found->calibration, codec::rows_of(entry.tensor.shape())});
    }
  }
  if (setup_.cut != setup_.last_cut) return streams;
  if (const auto* found = setup_.calibrations.find(setup_.cut, "velocity")) {
    streams.push_back({found->calibration, rows_});
  }
  return streams;
}

Result<codec::EncodedFrame> StepEncoder::encode_frame(const std::string& stream,
                                                      const codec::Profile& profile, const Tensor& tensor,
                                                      const codec::StepContext& context,
                                                      const TensorList& state) {
  auto sender = senders_.find(stream);
  if (sender == senders_.end()) {
    const codec::CalibrationSet::Entry* entry = setup_.calibrations.find(setup_.cut, stream);
    PINION_TRY(
        codec::StreamSender made,
        codec::StreamSender::create({.profile = profile,
                                     .calibration = entry == nullptr ? nullptr : entry->calibration,
                                     .step_streams = step_streams(state),
                                     .place = {setup_.model_hash, setup_.cut, stream},
                                     .known_bases = setup_.known_bases,
                                     .keeps_decoded = stream == "latents",
                                     .has_latent_rows = setup_.has_maps && stream == setup_.streams.picture,
                                     .encoding = {.threads = codec::job_threads()}},
                                    bases_));
    sender = senders_.emplace(stream, std::move(made)).first;
  }
  return sender->second.encode(tensor, context);
}

codec::StepContext StepEncoder::context() const {
  return {.sigma = sigma_,
          .previous_sigma = previous_sigma_,
          .latents = latents_,
          .previous_latents = previous_latents_,
          .output_rows = rows_,
          .grid = setup_.grid};
}

Result<StepEncoder::LatentsBlobs> StepEncoder::encode_latents(const StepRequest& request, bool may_be_drawn) {
  if (request.latents.dtype() != DType::kF32 || !request.latents.device().is_cpu()) {
    return Error{Errc::kInvalidArgument, "latents must be float32 on the CPU", ""};
  }
  LatentsBlobs result;
  std::vector<float> latents = floats_of(request.latents);
  std::vector<float> prediction;  // of the sampler's
  Bytes delta;
  const bool is_drawn = may_be_drawn && request.noise->seed <= std::numeric_limits<std::int64_t>::max();
  const bool can_predict = !is_drawn && !velocity_.empty() && velocity_.size() == latents.size();
  if (can_predict) {
    prediction.resize(latents.size());
    transport::predict_latents(sampled_, corrected_, request.delta_sigma, prediction);
    delta = transport::encode_latents_delta(latents, prediction);
  }
  // A difference that is not small is no gain over the tensor itself; a quarter of its size is far from both.
  const bool is_predicted = can_predict && delta.size() < request.latents.bytes() / 4;
  rows_ = request.latents.shape()[0] * request.latents.shape()[1];
  if (is_drawn) {
    result.part.form = "recipe";
    result.part.recipe =
        transport::NoiseRecipe{request.noise->generator, static_cast<std::int64_t>(request.noise->seed)};
    result.stats = {"latents", exact_stats(request.latents, 0, true)};
  } else if (is_predicted) {
    if (corrected_ != velocity_ || sampled_ != latents_) {
      // The sampler follows the velocity that it got, so the workers' latents follow theirs, by the same
      // difference.
      std::vector<float> followed(latents.size());
      transport::predict_latents(latents_, velocity_, request.delta_sigma, followed);
      for (std::size_t i = 0; i < latents.size(); ++i)
        latents[i] = followed[i] + (latents[i] - prediction[i]);
      delta = transport::encode_latents_delta(latents, followed);
    }
    result.part.form = "predicted";
    result.part.delta = 0;
    result.stats = {"latents", exact_stats(request.latents, delta.size(), false)};
    result.blobs.push_back(Blob::of(std::move(delta)));
  } else {
    // Where no stage holds block 0, the latents are nobody's state.
    const codec::Profile profile =
        setup_.cut > 0 ? codec::latents_profile(setup_.state_profile) : kExactLatents;
    PINION_TRY(codec::EncodedFrame encoded, encode_frame("latents", profile, request.latents, {}));
    latents = floats_of(senders_.at("latents").decoded());
    result.part.form = "exact";
    result.part.frame = 0;
    result.stats = {"latents", encoded.stats};
    result.blobs.push_back(Blob::of(std::move(encoded.frame)));
  }
  result.part.crc32c = crc32c(std::as_bytes(std::span(latents)));
  sampled_ = floats_of(request.latents);
  previous_latents_ = std::exchange(latents_, std::move(latents));
  return result;
}

// All stages but the last decode every velocity, also where the latents do not follow from it: its frames may
// predict from each other.
void StepEncoder::add_velocity(LatentsBlobs& latents) const {
  if (!setup_.has_middle_stages || velocity_.empty()) return;
  const auto add = [&](const Blob& blob) {
    latents.stats.frame.frame_bytes += blob.bytes.size();
    latents.blobs.push_back(blob);
    return static_cast<std::uint32_t>(latents.blobs.size() - 1);
  };
  latents.part.velocity = add(velocity_frame_);
  if (velocity_basis_) latents.part.velocity_basis = add(*velocity_basis_);
}

// The velocity has the channels of the latents.
codec::BasisLimits StepEncoder::velocity_basis_limits() const {
  const auto rows = static_cast<std::size_t>(std::max<std::int64_t>(1, rows_));
  return codec::BasisLimits::for_channels(latents_.size() / rows);
}

codec::StreamReceiver& StepEncoder::velocity_receiver() {
  if (velocity_receiver_) return *velocity_receiver_;
  const codec::CalibrationSet::Entry* entry = setup_.calibrations.find(setup_.last_cut, "velocity");
  velocity_receiver_.emplace(entry == nullptr ? nullptr : entry->calibration, setup_.has_maps,
                             codec::job_threads());
  for (const Bytes& basis : setup_.velocity_bases) {
    static_cast<void>(velocity_receiver_->add_basis(basis, velocity_basis_limits()));
  }
  return *velocity_receiver_;
}

Result<SentStep> StepEncoder::encode(const StepRequest& request, bool may_be_drawn) {
  const Stopwatch watch;
  transport::Step step;
  step.job = setup_.job;
  step.step = request.step;
  step.attempt = setup_.attempt;
  step.sigma = request.sigma;
  step.delta_sigma = request.delta_sigma;
  if (setup_.state_profile.mode == codec::Mode::kCalibrated &&
      std::ranges::any_of(request.sigma, [&](float sigma) { return sigma != request.sigma.front(); })) {
    return Error{Errc::kUnsupported, "pictures at different noise levels cannot be coded by one calibration",
                 "use --codec fidelity:20"};
  }
  if (!latents_.empty()) previous_sigma_ = sigma_;
  sigma_ = request.sigma.front();
  PINION_TRY(LatentsBlobs latents, encode_latents(request, may_be_drawn));
  add_velocity(latents);
  step.latents = std::move(latents.part);
  std::vector<Blob> blobs = std::move(latents.blobs);

  SentStep sent;
  sent.streams.push_back(std::move(latents.stats));
  PINION_TRY(const TensorList streams, setup_.streams.split(request.state));
  for (const NamedTensor& entry : streams) {
    PINION_TRY(codec::EncodedFrame encoded,
               encode_frame(entry.name, setup_.state_profile, entry.tensor, context(), streams));
    sent.streams.push_back({entry.name, encoded.stats});
    transport::StatePart& part = step.state.emplace_back();
    part.name = entry.name;
    part.frame = static_cast<std::uint32_t>(blobs.size());
    blobs.push_back(Blob::of(std::move(encoded.frame)));
    if (!encoded.basis.empty()) {
      part.basis = static_cast<std::uint32_t>(blobs.size());
      blobs.push_back(Blob::of(std::move(encoded.basis)));
    }
  }
  sent.message = transport::make_message(std::move(step));
  sent.message.blobs = std::move(blobs);
  sent.encode_ms = watch.elapsed_ms();
  return sent;
}

Result<std::vector<float>> StepEncoder::correction(const StepRequest& request) {
  PINION_TRY(const TensorList streams, setup_.streams.split(request.state));
  for (const NamedTensor& entry : streams) {
    if (entry.name == setup_.streams.picture)
      return senders_.at(entry.name).correction(entry.tensor, context());
  }
  return std::vector<float>();
}

Result<ReceivedStep> StepEncoder::decode(const transport::Message& message,
                                         std::span<const float> correction) {
  const Stopwatch watch;
  PINION_TRY(transport::StepResult result, transport::read_header<transport::StepResult>(message));
  velocity_frame_ = message.blobs[result.velocity];
  velocity_basis_.reset();
  if (result.basis) velocity_basis_ = message.blobs[*result.basis];
  // The velocity has the shape of the latents and at most their width.
  const codec::DecodeLimits limits{.max_tensor_bytes = latents_.size() * sizeof(float)};
  ReceivedStep received;
  if (velocity_basis_) {
    PINION_TRY_VOID(velocity_receiver().add_basis(velocity_basis_->bytes, velocity_basis_limits()));
    bases_.keep(setup_.velocity_place(), velocity_basis_->bytes,
                codec::kind_of_asset(velocity_basis_->bytes, velocity_frame_.bytes, limits));
  }
  PINION_TRY(received.velocity, velocity_receiver().decode(velocity_frame_.bytes, context(), limits));
  if (static_cast<std::size_t>(received.velocity.elements()) != latents_.size() ||
      !is_float(received.velocity.dtype())) {
    return Error{Errc::kProtocol, "the result has another size than the latents", ""};
  }
  velocity_ = floats_of(received.velocity);
  corrected_ = velocity_;
  if (!correction.empty()) {
    for (std::size_t i = 0; i < corrected_.size(); ++i) corrected_[i] += correction[i];
    received.velocity = Tensor::from_floats(corrected_, received.velocity.shape());
  }
  received.trace = std::move(result.trace);
  received.decode_ms = watch.elapsed_ms();
  return received;
}

}  // namespace pinion::client
