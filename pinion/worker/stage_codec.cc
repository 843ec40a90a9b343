#include "pinion/worker/stage_codec.h"

#include <cstring>

#include "pinion/base/crc32c.h"
#include "pinion/base/float_formats.h"
#include "pinion/transport/latents_delta.h"

namespace pinion::worker {
namespace {

using transport::Blob;
using transport::Message;

constexpr codec::Profile kLossless{.mode = codec::Mode::kLossless};

Error misfit(const std::string& what) { return Error{Errc::kProtocol, "step " + what, ""}; }

ByteSpan bytes_of(const std::vector<float>& values) { return std::as_bytes(std::span(values)); }

}  // namespace

codec::Decoder& StageCodec::decoder(const std::string& stream) {
  std::unique_ptr<codec::Decoder>& decoder = decoders_[stream];
  if (!decoder) decoder = codec::Decoder::create();
  return *decoder;
}

std::vector<std::string> StageCodec::load_bases() {
  std::vector<std::string> hashes;
  if (is_first() || setup_.profile.mode != codec::Mode::kFidelity) return hashes;
  for (const models::StateTensorSchema& schema : setup_.state) {
    for (const Bytes& basis : bases_.load(arriving(schema.name))) {
      if (decoder(schema.name).add_basis(basis).ok()) hashes.push_back(codec::basis_hash(basis));
    }
  }
  return hashes;
}

Result<Tensor> StageCodec::decode_frame(const std::string& stream, ByteSpan frame, std::int64_t channels) {
  // Latents are float32 even if the stage is not.
  const auto max_bytes = static_cast<std::size_t>(setup_.rows * channels) * sizeof(float);
  Result<Tensor> tensor = decoder(stream).decode(
      frame, {.max_tensor_bytes = max_bytes, .max_channels = static_cast<std::size_t>(channels)});
  if (!tensor.ok()) return std::move(tensor).error().in("stream \"" + stream + "\"");
  return tensor;
}

Result<void> StageCodec::receive_velocity(ByteSpan frame) {
  PINION_TRY(const Tensor velocity, decode_frame("velocity", frame, setup_.latent_channels));
  return keep_velocity(velocity);
}

Result<void> StageCodec::keep_velocity(const Tensor& velocity) {
  if (velocity.shape() != latents_shape() || !is_float(velocity.dtype())) {
    return misfit("has a velocity of shape " + to_string(velocity.shape()) + ", not " +
                  to_string(latents_shape()));
  }
  velocity_.resize(static_cast<std::size_t>(velocity.elements()));
  to_float(velocity.view().data, velocity.dtype(), velocity.elements(), velocity_.data());
  return {};
}

Result<void> StageCodec::receive_latents(const transport::Step& step, const Message& message) {
  const transport::LatentsPart& part = step.latents;
  if (part.form == "exact" && part.frame) {
    PINION_TRY(const Tensor latents,
               decode_frame("latents", message.blobs[*part.frame].bytes, setup_.latent_channels));
    if (latents.shape() != latents_shape() || latents.dtype() != DType::kF32) {
      return misfit("has latents of shape " + to_string(latents.shape()) + ", not " +
                    to_string(latents_shape()));
    }
    latents_.resize(static_cast<std::size_t>(latents.elements()));
    std::memcpy(latents_.data(), latents.view().data, latents.bytes());
  } else if (part.form == "predicted" && part.delta) {
    if (part.velocity) PINION_TRY_VOID(receive_velocity(message.blobs[*part.velocity].bytes));
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
  return {};
}

Result<Tensor> StageCodec::decode_state(const transport::StatePart& part, const Message& message,
                                        const models::StateTensorSchema& schema) {
  if (part.name != schema.name)
    return misfit("brings \"" + part.name + "\" in the place of \"" + schema.name + "\"");
  if (part.basis) PINION_TRY_VOID(decoder(part.name).add_basis(message.blobs[*part.basis].bytes));
  PINION_TRY(Tensor tensor, decode_frame(part.name, message.blobs[part.frame].bytes, schema.channels));
  if (part.basis) bases_.keep(arriving(part.name), message.blobs[*part.basis].bytes);
  const Shape& shape = tensor.shape();
  if (shape.rank() != 3 || shape[0] != setup_.batch || shape[2] != schema.channels ||
      tensor.dtype() != setup_.dtype) {
    return misfit("brings \"" + part.name + "\" as " + std::string(name(tensor.dtype())) + to_string(shape));
  }
  return tensor;
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
  if (step.state.size() != setup_.state.size()) return misfit("has a wrong number of state tensors");
  for (std::size_t i = 0; i < step.state.size(); ++i) {
    PINION_TRY(Tensor tensor, decode_state(step.state[i], message, setup_.state[i]));
    input.state.push_back({step.state[i].name, std::move(tensor)});
  }
  return input;
}

Result<codec::EncodedFrame> StageCodec::encode_frame(const std::string& stream, const codec::Profile& profile,
                                                     const Tensor& tensor, transport::TraceHop& hop) {
  std::unique_ptr<codec::Encoder>& encoder = encoders_[stream];
  if (!encoder) {
    PINION_TRY(encoder, codec::create_encoder(profile, bases_, leaving(stream), known_bases_));
  }
  PINION_TRY(codec::EncodedFrame encoded, encoder->encode(tensor));
  if (!encoded.basis.empty()) bases_.keep(leaving(stream), encoded.basis);
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
  trace.max_error = stats.max_error;
  trace.key_frame = stats.key_frame;
  return encoded;
}

Result<Message> StageCodec::encode(const transport::Step& step, const Message& received,
                                   const models::StepOutput& output, transport::TraceHop& hop) {
  if (is_last()) {
    if (output.size() != 1 || output[0].name != "velocity") {
      return Error{Errc::kInternal, "the last stage made no velocity", ""};
    }
    PINION_TRY_VOID(keep_velocity(output[0].tensor));
    PINION_TRY(codec::EncodedFrame encoded, encode_frame("velocity", kLossless, output[0].tensor, hop));
    transport::StepResult result;
    result.job = step.job;
    result.step = step.step;
    result.attempt = step.attempt;
    Message message = transport::make_message(result);
    message.add(Blob::of(std::move(encoded.frame)));
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
  if (next_is_last) onward.latents.velocity.reset();
  pass_on(onward.latents.frame);
  pass_on(onward.latents.delta);
  pass_on(onward.latents.velocity);
  for (const NamedTensor& entry : output) {
    PINION_TRY(codec::EncodedFrame encoded, encode_frame(entry.name, setup_.profile, entry.tensor, hop));
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
