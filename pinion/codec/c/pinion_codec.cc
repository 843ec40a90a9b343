#include "pinion/codec/c/pinion_codec.h"

#include <algorithm>

#include "pinion/codec/c/c_border.h"
#include "pinion/codec/calibrated/calibrated_codec.h"
#include "pinion/codec/calibrated/calibration_set.h"
#include "pinion/codec/frame_format.h"

namespace {

using pinion::Bytes;
using pinion::ByteSpan;
using pinion::Errc;
using pinion::Error;
using pinion::Result;
using pinion::Tensor;
using pinion::TensorView;
using pinion::codec::check_input;
using pinion::codec::check_output;
using pinion::codec::guarded;
using pinion::codec::put_text;
using pinion::codec::span_of;
using pinion::codec::store;
using pinion::codec::wrong_call;

constexpr std::int32_t kMaxThreads = 256;

Result<TensorView> view_of(const pinion_tensor_view* from) {
  PINION_TRY_VOID(check_input(from, "tensor"));
  const bool is_type = from->dtype >= 0 && from->dtype <= UINT8_MAX;
  const auto dtype = is_type ? pinion::dtype_from_code(static_cast<std::uint8_t>(from->dtype)) : std::nullopt;
  if (!dtype) return wrong_call("tensor.dtype is " + std::to_string(from->dtype));
  if (from->rank < 0 || from->rank > static_cast<std::int32_t>(pinion::Shape::kMaxRank))
    return wrong_call("tensor.rank is " + std::to_string(from->rank));
  std::uint64_t elements = 1;
  for (std::int32_t axis = 0; axis < from->rank; ++axis) {
    const std::int64_t extent = from->extents[axis];
    const bool fits = extent >= 0 && extent <= static_cast<std::int64_t>(pinion::codec::kMaxExtent);
    // An extent of 0 hides no impossible product of the others. Both factors are below 2^48.
    const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(1, extent));
    if (!fits || factor > pinion::codec::kMaxElements / elements)
      return wrong_call("tensor.extents[" + std::to_string(axis) + "] is " + std::to_string(extent));
    elements *= factor;
  }
  const TensorView view{static_cast<const std::byte*>(from->data),
                        *dtype,
                        pinion::Shape(std::span(from->extents, static_cast<std::size_t>(from->rank))),
                        {}};
  if (view.data == nullptr && view.elements() > 0) return wrong_call("tensor.data is NULL");
  return view;
}

Result<pinion::codec::DecodeLimits> decode_limits_of(const pinion_limits* limits) {
  PINION_TRY_VOID(check_input(limits, "limits"));
  return pinion::codec::DecodeLimits{.max_tensor_bytes = limits->max_tensor_bytes,
                                     .max_channels = limits->max_channels};
}

Result<pinion::codec::StepContext> context_of(const pinion_step_context* from) {
  if (from == nullptr)
    return Error{Errc::kInvalidArgument, "context is NULL", "calibrated coding needs the step's"};
  PINION_TRY_VOID(check_input(from, "context"));
  if (from->latents == nullptr && from->latents_count > 0) return wrong_call("context.latents is NULL");
  pinion::codec::StepContext context{.sigma = from->sigma,
                                     .previous_sigma = std::nullopt,
                                     .latents = std::span(from->latents, from->latents_count),
                                     .previous_latents = {},
                                     .output_rows = from->output_rows,
                                     .grid = {.lines = from->grid_lines, .columns = from->grid_columns}};
  if (from->has_previous_sigma != 0) context.previous_sigma = from->previous_sigma;
  if (from->previous_latents != nullptr)
    context.previous_latents = std::span(from->previous_latents, from->latents_count);
  return context;
}

pinion_tensor_view describe(const TensorView& view) {
  pinion_tensor_view to{};
  to.struct_bytes = sizeof(to);
  to.data = view.data;
  const auto extents = view.shape.extents();
  std::copy(extents.begin(), extents.end(), to.extents);
  to.dtype = static_cast<pinion_dtype>(view.dtype);
  to.rank = static_cast<std::int32_t>(extents.size());
  return to;
}

// Null for no bytes.
std::unique_ptr<Bytes> own(Bytes bytes) {
  return bytes.empty() ? nullptr : std::make_unique<Bytes>(std::move(bytes));
}

pinion_bytes hand_out(std::unique_ptr<Bytes> bytes) {
  if (bytes == nullptr) return {};
  const auto* const data = reinterpret_cast<const std::uint8_t*>(bytes->data());
  const std::size_t size = bytes->size();
  return {data, size, bytes.release()};
}

void take_back(pinion_bytes& bytes) {
  delete static_cast<Bytes*>(bytes.owner);
  bytes = {};
}

}  // namespace

struct pinion_calibration {
  std::shared_ptr<const pinion::codec::Calibration> content;
};

struct pinion_encoder {
  std::unique_ptr<pinion::codec::Encoder> plain;               // null if calibrated
  std::optional<pinion::codec::CalibratedEncoder> calibrated;  // else empty
};

struct pinion_decoder {
  std::unique_ptr<pinion::codec::Decoder> plain;
  std::optional<pinion::codec::CalibratedDecoder> calibrated;  // empty without a calibration
};

namespace {

Result<pinion_encoder> make_encoder(const char* profile_text, const pinion_calibration* calibration,
                                    const pinion_encoder_options* options) {
  if (profile_text == nullptr) return wrong_call("profile is NULL");
  PINION_TRY(const pinion::codec::Profile profile, pinion::codec::parse_profile(profile_text));
  pinion::codec::EncoderOptions wanted;
  std::size_t frame_bytes = profile.budget_bytes;
  if (options != nullptr) {
    PINION_TRY_VOID(check_input(options, "options"));
    if (options->threads < 0 || options->threads > kMaxThreads)
      return wrong_call("options.threads is " + std::to_string(options->threads));
    wanted.threads = std::max(1, options->threads);
    wanted.measured = options->unmeasured == 0;
    if (options->calibrated_frame_bytes > 0) frame_bytes = options->calibrated_frame_bytes;
  }
  pinion_encoder made;
  const bool is_calibrated = profile.mode == pinion::codec::Mode::kCalibrated;
  if (is_calibrated != (calibration != nullptr)) {
    return wrong_call(is_calibrated ? "profile \"calibrated\" needs a calibration"
                                    : "only profile \"calibrated\" takes a calibration");
  }
  if (is_calibrated) {
    PINION_TRY(made.calibrated, pinion::codec::CalibratedEncoder::create(
                                    calibration->content,
                                    {.output_snr_db = profile.target_snr_db, .frame_bytes = frame_bytes}));
  } else {
    PINION_TRY(made.plain, pinion::codec::Encoder::create(profile, wanted));
  }
  return made;
}

Result<pinion::codec::EncodedFrame> encode(pinion_encoder& encoder, const pinion_tensor_view* tensor,
                                           const pinion_step_context* context) {
  PINION_TRY(const TensorView view, view_of(tensor));
  if (encoder.plain) {
    if (context != nullptr) return wrong_call("only profile \"calibrated\" takes a context");
    return encoder.plain->encode(view);
  }
  PINION_TRY(const pinion::codec::StepContext step, context_of(context));
  PINION_TRY(pinion::codec::CalibratedFrame coded, encoder.calibrated->encode(view, step));
  pinion::codec::EncodedFrame encoded;
  encoded.frame = std::move(coded.frame);
  encoded.stats.tensor_bytes = coded.stats.tensor_bytes;
  encoded.stats.ideal_index_bits = coded.stats.ideal_index_bits;
  encoded.stats.output_snr_db = coded.stats.predicted_output_snr_db;
  encoded.stats.key_frame = coded.stats.key_frame;
  return encoded;
}

Result<Tensor> decode(pinion_decoder& decoder, ByteSpan frame, const pinion_step_context* context,
                      const pinion::codec::DecodeLimits& limits) {
  if (decoder.calibrated) {
    PINION_TRY(const pinion::codec::FrameInfo info, pinion::codec::inspect(frame, limits));
    if (info.mode == pinion::codec::Mode::kCalibrated) {
      PINION_TRY(const pinion::codec::StepContext step, context_of(context));
      return decoder.calibrated->decode(frame, step, limits);
    }
  }
  return decoder.plain->decode(frame, limits);
}

}  // namespace

extern "C" {

const char* pinion_codec_version(void) { return PINION_VERSION; }

const char* pinion_status_name(pinion_status status) {
  switch (status) {
    case PINION_OK:
      return "ok";
    case PINION_INVALID_ARGUMENT:
      return "invalid_argument";
    case PINION_BAD_FORMAT:
      return "bad_format";
    case PINION_NEED_MORE_BYTES:
      return "need_more_bytes";
    case PINION_TOO_LARGE:
      return "too_large";
    case PINION_UNSUPPORTED:
      return "unsupported";
    case PINION_NOT_FOUND:
      return "not_found";
    case PINION_OUT_OF_MEMORY:
      return "out_of_memory";
    case PINION_INTERNAL:
      return "internal";
    default:
      return "unknown";
  }
}

pinion_status pinion_calibration_parse(const void* asset, size_t asset_bytes, uint64_t max_values,
                                       pinion_calibration** calibration, pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    if (calibration == nullptr) return wrong_call("calibration is NULL");
    *calibration = nullptr;
    PINION_TRY(const ByteSpan bytes, span_of(asset, asset_bytes, "asset"));
    PINION_TRY(auto content, pinion::codec::parse_calibration(
                                 bytes, std::min(max_values, pinion::codec::kMaxCalibrationValues)));
    *calibration = new pinion_calibration{std::move(content)};
    return {};
  });
}

pinion_status pinion_calibration_describe(const pinion_calibration* calibration,
                                          pinion_calibration_info* info, pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    PINION_TRY_VOID(check_output(info, "info"));
    store(pinion_calibration_info{}, info);
    if (calibration == nullptr) return wrong_call("calibration is NULL");
    const pinion::codec::Calibration& content = *calibration->content;
    pinion_calibration_info value{};
    value.channels = content.channels();
    value.components = content.components();
    value.latents = content.latents();
    value.cut = content.key.cut;
    value.has_response = content.has_response ? 1 : 0;
    put_text(content.key.stream, value.stream);
    put_text(pinion::to_hex(content.key.model), value.model_hash);
    put_text(pinion::codec::calibration_id(content), value.hash);
    store(value, info);
    return {};
  });
}

void pinion_calibration_free(pinion_calibration* calibration) { delete calibration; }

pinion_status pinion_encoder_create(const char* profile, const pinion_calibration* calibration,
                                    const pinion_encoder_options* options, pinion_encoder** encoder,
                                    pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    if (encoder == nullptr) return wrong_call("encoder is NULL");
    *encoder = nullptr;
    PINION_TRY(pinion_encoder made, make_encoder(profile, calibration, options));
    *encoder = new pinion_encoder(std::move(made));
    return {};
  });
}

pinion_status pinion_encoder_encode(pinion_encoder* encoder, const pinion_tensor_view* tensor,
                                    const pinion_step_context* context, pinion_encoded* encoded,
                                    pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    PINION_TRY_VOID(check_output(encoded, "encoded"));
    store(pinion_encoded{}, encoded);
    if (encoder == nullptr) return wrong_call("encoder is NULL");
    PINION_TRY(pinion::codec::EncodedFrame made, encode(*encoder, tensor, context));
    pinion_encoded value{};
    value.tensor_bytes = made.stats.tensor_bytes;
    value.ideal_index_bits = made.stats.ideal_index_bits;
    value.snr_db = made.stats.snr_db;
    value.cosine = made.stats.cosine;
    value.max_error = made.stats.max_error;
    value.output_snr_db = made.stats.output_snr_db;
    value.key_frame = made.stats.key_frame ? 1 : 0;
    auto frame = own(std::move(made.frame)), basis = own(std::move(made.basis));  // both, or neither
    value.frame = hand_out(std::move(frame));
    value.basis = hand_out(std::move(basis));
    store(value, encoded);
    return {};
  });
}

pinion_status pinion_encoder_correction(pinion_encoder* encoder, const pinion_tensor_view* tensor,
                                        const pinion_step_context* context, float* correction, size_t count,
                                        pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    if (encoder == nullptr) return wrong_call("encoder is NULL");
    if (correction == nullptr) return wrong_call("correction is NULL");
    PINION_TRY(const TensorView view, view_of(tensor));
    if (!encoder->calibrated) return wrong_call("only profile \"calibrated\" corrects");
    PINION_TRY(const pinion::codec::StepContext step, context_of(context));
    const std::vector<float> made = encoder->calibrated->correction(view, step);
    if (made.empty())
      return wrong_call("the calibration has no response, or there is no last frame of that shape");
    if (made.size() != count)
      return wrong_call("a correction has " + std::to_string(made.size()) + " floats");
    std::copy(made.begin(), made.end(), correction);
    return {};
  });
}

pinion_status pinion_encoder_restart(pinion_encoder* encoder, pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    if (encoder == nullptr) return wrong_call("encoder is NULL");
    if (encoder->plain) {
      encoder->plain->restart();
    } else {
      encoder->calibrated->restart();
    }
    return {};
  });
}

pinion_status pinion_encoder_assume_known_basis(pinion_encoder* encoder, const char* hash,
                                                pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    if (encoder == nullptr) return wrong_call("encoder is NULL");
    if (hash == nullptr) return wrong_call("hash is NULL");
    if (!encoder->plain) return wrong_call("calibrated coding has no bases");
    encoder->plain->assume_known_basis(hash);
    return {};
  });
}

pinion_status pinion_encoder_offer_basis(pinion_encoder* encoder, const void* basis, size_t basis_bytes,
                                         pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    if (encoder == nullptr) return wrong_call("encoder is NULL");
    if (!encoder->plain) return wrong_call("calibrated coding has no bases");
    PINION_TRY(const ByteSpan bytes, span_of(basis, basis_bytes, "basis"));
    return encoder->plain->offer_basis(bytes);
  });
}

void pinion_encoder_free(pinion_encoder* encoder) { delete encoder; }

void pinion_encoded_free(pinion_encoded* encoded) {
  if (encoded == nullptr) return;
  take_back(encoded->frame);
  take_back(encoded->basis);
}

pinion_status pinion_decoder_create(const pinion_calibration* calibration, int32_t threads,
                                    pinion_decoder** decoder, pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    if (decoder == nullptr) return wrong_call("decoder is NULL");
    *decoder = nullptr;
    if (threads < 0 || threads > kMaxThreads) return wrong_call("threads is " + std::to_string(threads));
    auto made = std::make_unique<pinion_decoder>();
    made->plain = pinion::codec::Decoder::create(std::max(1, threads));
    if (calibration != nullptr) made->calibrated.emplace(calibration->content);
    *decoder = made.release();
    return {};
  });
}

pinion_status pinion_decoder_add_basis(pinion_decoder* decoder, const void* basis, size_t basis_bytes,
                                       const pinion_limits* limits, pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    if (decoder == nullptr) return wrong_call("decoder is NULL");
    PINION_TRY_VOID(check_input(limits, "limits"));
    PINION_TRY(const ByteSpan bytes, span_of(basis, basis_bytes, "basis"));
    return decoder->plain->add_basis(
        bytes, {.max_channels = limits->max_channels, .max_coefficients = limits->max_basis_coefficients});
  });
}

pinion_status pinion_decoder_decode(pinion_decoder* decoder, const void* frame, size_t frame_bytes,
                                    const pinion_step_context* context, const pinion_limits* limits,
                                    pinion_decoded* decoded, pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    PINION_TRY_VOID(check_output(decoded, "decoded"));
    store(pinion_decoded{}, decoded);
    if (decoder == nullptr) return wrong_call("decoder is NULL");
    PINION_TRY(const pinion::codec::DecodeLimits bounds, decode_limits_of(limits));
    PINION_TRY(const ByteSpan bytes, span_of(frame, frame_bytes, "frame"));
    PINION_TRY(Tensor tensor, decode(*decoder, bytes, context, bounds));
    pinion_decoded value{};
    value.tensor = describe(tensor.view());
    value.owner = new Tensor(std::move(tensor));
    store(value, decoded);
    return {};
  });
}

void pinion_decoder_free(pinion_decoder* decoder) { delete decoder; }

void pinion_decoded_free(pinion_decoded* decoded) {
  if (decoded == nullptr) return;
  delete static_cast<Tensor*>(decoded->owner);
  decoded->owner = nullptr;
  decoded->tensor = {};
}

pinion_status pinion_codec_inspect(const void* frame, size_t frame_bytes, const pinion_limits* limits,
                                   pinion_frame_info* info, pinion_error* error) {
  return guarded(error, [&]() -> Result<void> {
    PINION_TRY_VOID(check_output(info, "info"));
    store(pinion_frame_info{}, info);
    PINION_TRY(const pinion::codec::DecodeLimits bounds, decode_limits_of(limits));
    PINION_TRY(const ByteSpan bytes, span_of(frame, frame_bytes, "frame"));
    PINION_TRY(const pinion::codec::FrameInfo found, pinion::codec::inspect(bytes, bounds));
    pinion_frame_info value{};
    value.frame_bytes = found.frame_bytes;
    const auto extents = found.shape.extents();
    std::copy(extents.begin(), extents.end(), value.extents);
    value.dtype = static_cast<pinion_dtype>(found.dtype);
    value.rank = static_cast<std::int32_t>(extents.size());
    value.mode = static_cast<std::int32_t>(found.mode);
    value.key_frame = found.key_frame ? 1 : 0;
    value.step_size = found.step_size;
    value.output_snr_db = found.output_snr_db;
    put_text(found.basis_hash, value.basis_hash);
    store(value, info);
    return {};
  });
}

}  // extern "C"
