#include "pinion/worker/stage_codec.h"

#include "pinion/base/crc32c.h"
#include "pinion/base/float_formats.h"
#include "pinion/transport/latents_delta.h"

namespace pinion::worker {
namespace {

using transport::Blob;
using transport::Message;

Error misfit(const std::string& what) { return Error{Errc::kProtocol, "step " + what, ""}; }

ByteSpan bytes_of(const std::vector<float>& values) { return std::as_bytes(std::span(values)); }

}  // namespace

std::shared_ptr<const codec::Calibration> StageCodec::calibration_of(const std::string& stream,
                                                                     int cut) const {
  std::shared_ptr<const codec::Calibration> found;
  setup_.calibrations.for_each([&](int at, const std::string& name, const auto& entry) {
    // That of the velocity is of the cut where the last stage begins, wherever that is.
    if (name == stream && (at == cut || stream == "velocity")) found = entry.calibration;
  });
  return found;
}

codec::StreamReceiver& StageCodec::receiver(const std::string& stream) {
  const auto found = receivers_.find(stream);
  if (found != receivers_.end()) return found->second;
  const bool has_latent_rows = setup_.has_maps && (stream == setup_.streams.picture || stream == "velocity");
  codec::StreamReceiver made(calibration_of(stream, setup_.blocks.begin), has_latent_rows,
                             codec::job_threads());
  return receivers_.emplace(stream, std::move(made)).first->second;
}

codec::StepContext StageCodec::context() const {
  return {.sigma = sigma_,
          .previous_sigma = previous_sigma_,
          .latents = latents_,
          .previous_latents = previous_latents_,
          .output_rows = setup_.batch * setup_.grid.tokens(),
          .grid = {.lines = static_cast<std::size_t>(setup_.grid.height),
                   .columns = static_cast<std::size_t>(setup_.grid.width)}};
}

std::vector<std::string> StageCodec::load_bases() {
  std::vector<std::string> hashes;
  if (is_first()) return hashes;
  const auto load = [&](const std::string& stream, std::int64_t channels) {
    for (const Bytes& basis : bases_.load(arriving(stream))) {
      if (add_basis(stream, basis, channels).ok()) hashes.push_back(codec::basis_hash(basis));
    }
  };
  for (const models::StateTensorSchema& schema : setup_.state) {
    if (setup_.profile.mode == codec::Mode::kFidelity) load(schema.name, schema.channels);
    // References are not calibrated.
    if (setup_.streams.splits(schema.name)) load(std::string(codec::kReferenceStream), schema.channels);
  }
  return hashes;
}

Result<void> StageCodec::add_basis(const std::string& stream, ByteSpan basis, std::int64_t channels) {
  const auto limits = codec::BasisLimits::for_channels(static_cast<std::size_t>(channels));
  Result<void> added = receiver(stream).add_basis(basis, limits);
  if (!added.ok()) return std::move(added).error().in("stream \"" + stream + "\"");
  return added;
}

Result<Tensor> StageCodec::decode_frame(const std::string& stream, ByteSpan frame, std::int64_t channels) {
  // Latents are float32 even if the stage is not.
  const auto max_bytes = static_cast<std::size_t>(setup_.rows * channels) * sizeof(float);
  Result<Tensor> tensor = receiver(stream).decode(
      frame, context(), {.max_tensor_bytes = max_bytes, .max_channels = static_cast<std::size_t>(channels)});
  if (!tensor.ok()) return std::move(tensor).error().in("stream \"" + stream + "\"");
  return tensor;
}

Result<void> StageCodec::receive_velocity(const transport::LatentsPart& part, const Message& message) {
  if (!part.velocity) return {};
  if (part.velocity_basis) {
    PINION_TRY_VOID(add_basis("velocity", message.blobs[*part.velocity_basis].bytes, setup_.latent_channels));
  }
  PINION_TRY(const Tensor velocity,
             decode_frame("velocity", message.blobs[*part.velocity].bytes, setup_.latent_channels));
  return keep_velocity(velocity);
}

Result<void> StageCodec::keep_velocity(const Tensor& velocity) {
  if (velocity.shape() != latents_shape() || !is_float(velocity.dtype())) {
    return misfit("has a velocity of shape " + to_string(velocity.shape()) + ", not " +
                  to_string(latents_shape()));
  }
  velocity_ = floats_of(velocity);
  return {};
}

Result<Tensor> StageCodec::draw_latents(const transport::NoiseRecipe& recipe) const {
  if (recipe.generator != setup_.noise.generator || !setup_.noise.draw) {
    return Error{Errc::kUnsupported, "step wants noise drawn by " + recipe.generator + ", which is not here",
                 ""};
  }
  return setup_.noise.draw(static_cast<std::uint64_t>(recipe.seed), setup_.batch, setup_.latent_channels,
                           setup_.grid);
}

Result<void> StageCodec::receive_latents(const transport::Step& step, const Message& message) {
  const transport::LatentsPart& part = step.latents;
  std::vector<float> before = latents_;
  PINION_TRY_VOID(receive_velocity(part, message));
  if (part.form == "exact" && part.frame) {
    PINION_TRY(const Tensor latents,
               decode_frame("latents", message.blobs[*part.frame].bytes, setup_.latent_channels));
    if (latents.shape() != latents_shape() || latents.dtype() != DType::kF32) {
      return misfit("has latents of shape " + to_string(latents.shape()) + ", not " +
                    to_string(latents_shape()));
    }
    latents_ = floats_of(latents);
  } else if (part.form == "recipe" && part.recipe) {
    PINION_TRY(const Tensor latents, draw_latents(*part.recipe));
    latents_ = floats_of(latents);
  } else if (part.form == "predicted" && part.delta) {
    if (latents_.empty() || velocity_.empty())
      return misfit("predicts latents from a step that was not here");
    transport::predict_latents(latents_, velocity_, step.delta_sigma, latents_);
    PINION_TRY_VOID(transport::apply_latents_delta(message.blobs[*part.delta].bytes, latents_));
  } else {
    return misfit("has latents in no known form");
  }
  velocity_.clear();
  if (crc32c(bytes_of(latents_)) != part.crc32c) {
    return Error{Errc::kBadFormat, "step yields other latents here than at the client", ""};
  }
  if (!before.empty()) previous_sigma_ = sigma_;
  previous_latents_ = std::move(before);
  sigma_ = step.sigma.front();
  return {};
}

Result<Tensor> StageCodec::decode_part(const transport::StatePart& part, const Message& message,
                                       const std::string& stream, std::int64_t channels) {
  if (part.name != stream) return misfit("brings \"" + part.name + "\" in the place of \"" + stream + "\"");
  if (part.basis) {
    PINION_TRY_VOID(add_basis(part.name, message.blobs[*part.basis].bytes, channels));
  }
  PINION_TRY(Tensor tensor, decode_frame(part.name, message.blobs[part.frame].bytes, channels));
  if (part.basis) {
    const ByteSpan asset = message.blobs[*part.basis].bytes;
    bases_.keep(
        arriving(part.name), asset,
        codec::kind_of_asset(asset, message.blobs[part.frame].bytes, {.max_tensor_bytes = tensor.bytes()}));
  }
  const Shape& shape = tensor.shape();
  if (shape.rank() != 3 || shape[0] != setup_.batch || shape[2] != channels ||
      tensor.dtype() != setup_.dtype) {
    return misfit("brings \"" + part.name + "\" as " + std::string(name(tensor.dtype())) + to_string(shape));
  }
  return tensor;
}

Result<TensorList> StageCodec::decode_state(const transport::Step& step, const Message& message) {
  std::size_t parts = setup_.state.size();
  for (const models::StateTensorSchema& schema : setup_.state) parts += setup_.streams.splits(schema.name);
  if (step.state.size() != parts) return misfit("has a wrong number of state tensors");
  TensorList streams;
  const auto take = [&](const std::string& stream, std::int64_t channels) -> Result<void> {
    const transport::StatePart& part = step.state[streams.size()];
    PINION_TRY(Tensor tensor, decode_part(part, message, stream, channels));
    state_rows_[stream] = codec::rows_of(tensor.shape());
    streams.push_back({stream, std::move(tensor)});
    return {};
  };
  for (const models::StateTensorSchema& schema : setup_.state) {
    PINION_TRY_VOID(take(schema.name, schema.channels));
    if (setup_.streams.splits(schema.name))
      PINION_TRY_VOID(take(std::string(codec::kReferenceStream), schema.channels));
  }
  return setup_.streams.join(streams);
}

Result<models::StepInput> StageCodec::decode(const transport::Step& step, const Message& message) {
  if (static_cast<std::int64_t>(step.sigma.size()) != setup_.batch)
    return misfit("has a wrong number of sigmas");
  PINION_TRY_VOID(receive_latents(step, message));
  models::StepInput input;
  input.sigma = step.sigma;
  if (is_first()) {
    if (!step.state.empty()) return misfit("brings a state to the stage that makes it");
    input.state.push_back({"latents", Tensor::from_floats(latents_, latents_shape())});
    return input;
  }
  PINION_TRY(input.state, decode_state(step, message));
  return input;
}

Result<codec::EncodedFrame> StageCodec::encode_frame(const codec::SenderSettings& settings,
                                                     const Tensor& tensor, transport::TraceHop& hop) {
  const std::string& stream = settings.place.stream;
  auto sender = senders_.find(stream);
  if (sender == senders_.end()) {
    PINION_TRY(codec::StreamSender made, codec::StreamSender::create(settings, bases_));
    sender = senders_.emplace(stream, std::move(made)).first;
  }
  PINION_TRY(codec::EncodedFrame encoded, sender->second.encode(tensor, context()));
  const codec::FrameStats& stats = encoded.stats;
  transport::TraceStream& trace = hop.streams.emplace_back();
  trace.name = stream;
  trace.frame_bytes = stats.frame_bytes;
  trace.basis_bytes = stats.basis_bytes;
  trace.tensor_bytes = stats.tensor_bytes;
  trace.elements = stats.elements;
  trace.ideal_index_bits = stats.ideal_index_bits;
  trace.snr_db = stats.snr_db;
  trace.cosine = stats.cosine;
  trace.output_snr_db = stats.output_snr_db;
  trace.max_error = stats.max_error;
  trace.key_frame = stats.key_frame;
  return encoded;
}

// What crosses a cut in a step and shares a target: the states, and the velocity where it comes back over the
// same cut.
std::vector<codec::StepStream> StageCodec::step_streams(int cut) const {
  std::vector<codec::StepStream> streams;
  if (setup_.profile.mode != codec::Mode::kCalibrated) return streams;
  for (const auto& [stream, rows] : state_rows_) {
    if (auto calibration = calibration_of(stream, cut)) streams.push_back({std::move(calibration), rows});
  }
  const bool is_last_cut = is_last() || setup_.stage + 2 == setup_.stages;
  if (auto calibration = is_last_cut ? calibration_of("velocity", cut) : nullptr) {
    streams.push_back({std::move(calibration), setup_.batch * setup_.grid.tokens()});
  }
  return streams;
}

codec::SenderSettings StageCodec::velocity_settings() const {
  codec::SenderSettings settings{
      .profile = setup_.velocity_profile.value_or(codec::velocity_profile(setup_.profile)),
      .calibration = calibration_of("velocity", setup_.blocks.begin),
      .step_streams = step_streams(setup_.blocks.begin),
      .place = {setup_.model_hash, setup_.blocks.begin, "velocity"},
      .known_bases = setup_.velocity_bases,
      .keeps_decoded = true,
      .has_latent_rows = setup_.has_maps,
      .encoding = {.threads = codec::job_threads()}};
  const bool is_calibrated = settings.profile.mode == codec::Mode::kCalibrated;
  if (is_calibrated && settings.calibration == nullptr) settings.profile = codec::velocity_profile({});
  return settings;
}

Result<codec::EncodedFrame> StageCodec::encode_velocity(const Tensor& velocity, transport::TraceHop& hop) {
  const codec::SenderSettings settings = velocity_settings();
  Tensor sent = velocity;
  if (!codec::is_exact(settings.profile.mode)) {
    // In float16 what is decoded here and at the client differs hardly ever, although their sums round
    // otherwise: the next latents are predicted from it at both ends.
    sent = converted(velocity, DType::kF16);
  }
  PINION_TRY(codec::EncodedFrame encoded, encode_frame(settings, sent, hop));
  PINION_TRY_VOID(keep_velocity(senders_.at("velocity").decoded()));
  return encoded;
}

Result<Message> StageCodec::encode(const transport::Step& step, const Message& received,
                                   const models::StepOutput& output, transport::TraceHop& hop) {
  if (is_last()) {
    if (output.size() != 1 || output[0].name != "velocity") {
      return Error{Errc::kInternal, "the last stage made no velocity", ""};
    }
    PINION_TRY(codec::EncodedFrame encoded, encode_velocity(output[0].tensor, hop));
    transport::StepResult result;
    result.job = step.job;
    result.step = step.step;
    result.attempt = step.attempt;
    if (!encoded.basis.empty()) result.basis = 1;
    Message message = transport::make_message(result);
    message.add(Blob::of(std::move(encoded.frame)));
    if (!encoded.basis.empty()) message.add(Blob::of(std::move(encoded.basis)));
    return message;
  }

  transport::Step onward = step;
  onward.stage = setup_.stage + 1;
  onward.trace.clear();
  onward.state.clear();
  std::vector<Blob> blobs;
  const auto pass_on = [&](std::optional<std::uint32_t>& index) {
    if (!index) return;
    blobs.push_back(received.blobs[*index]);
    index = static_cast<std::uint32_t>(blobs.size() - 1);
  };
  const bool next_is_last = setup_.stage + 2 == setup_.stages;
  if (next_is_last) onward.latents.velocity = onward.latents.velocity_basis = std::nullopt;
  pass_on(onward.latents.frame);
  pass_on(onward.latents.delta);
  pass_on(onward.latents.velocity);
  pass_on(onward.latents.velocity_basis);
  PINION_TRY(const TensorList streams, setup_.streams.split(output));
  state_rows_.clear();
  for (const NamedTensor& entry : streams) state_rows_[entry.name] = codec::rows_of(entry.tensor.shape());
  for (const NamedTensor& entry : streams) {
    const codec::SenderSettings settings{
        .profile = setup_.profile,
        .calibration = calibration_of(entry.name, setup_.blocks.end),
        .step_streams = step_streams(setup_.blocks.end),
        .place = leaving(entry.name),
        .known_bases = known_bases_,
        .has_latent_rows = setup_.has_maps && entry.name == setup_.streams.picture,
        .encoding = {.threads = codec::job_threads()}};
    PINION_TRY(codec::EncodedFrame encoded, encode_frame(settings, entry.tensor, hop));
    transport::StatePart& part = onward.state.emplace_back();
    part.name = entry.name;
    part.frame = static_cast<std::uint32_t>(blobs.size());
    blobs.push_back(Blob::of(std::move(encoded.frame)));
    if (!encoded.basis.empty()) {
      part.basis = static_cast<std::uint32_t>(blobs.size());
      blobs.push_back(Blob::of(std::move(encoded.basis)));
    }
  }
  Message message = transport::make_message(onward);
  message.blobs = std::move(blobs);
  return message;
}

}  // namespace pinion::worker
