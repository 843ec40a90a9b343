#include "pinion/codec/calibrated/row_products.h"

namespace pinion::codec {
namespace {

Result<void> check_fit(const FrameHeader& header, const Calibration& calibration) {
  if (header.mode != Mode::kCalibrated) {
    return Error{Errc::kInvalidArgument,
                 "a frame of mode " + std::string(name(header.mode)) +
                     " was given to the decoder of calibrated frames",
                 ""};
  }
  if (header.shape.elements() == 0) return {};
  if (!header.basis) return Error{Errc::kBadFormat, "calibrated frame names no calibration", ""};
  if (header.basis != calibration.id) {
    return Error{
        Errc::kNotFound,
        "coded frame needs calibration " + to_hex(*header.basis) + ", here is " + to_hex(calibration.id),
        "use the same calibration on both sides"};
  }
  if (channels_of(header.shape) != static_cast<std::int64_t>(calibration.channels())) {
    return Error{Errc::kBadFormat,
                 "coded frame has " + std::to_string(channels_of(header.shape)) +
                     " channels, its calibration " + std::to_string(calibration.channels()),
                 ""};
  }
  return {};
}

Result<void> check_previous(const FrameHeader& header, const CalibratedState* state) {
  if (!header.previous) return {};
  if (state == nullptr || state->checksum != *header.previous) {
    return previous_frame_not_here();
  }
  if (state->components.columns != static_cast<std::size_t>(rows_of(header.shape))) {
    return Error{Errc::kBadFormat, "coded frame predicts from a frame of another shape", ""};
  }
  return {};
}

Result<void> check_context(const CalibratedParams& params, const StepContext& context, std::size_t values) {
  if (context.latents.size() != values) {
    return Error{Errc::kInvalidArgument,
                 "a calibrated frame of " + std::to_string(values) + " latent values was given " +
                     std::to_string(context.latents.size()),
                 ""};
  }
  if (params.uses_history() && context.previous_latents.size() != values) {
    return Error{Errc::kNotFound, "coded frame predicts from latents of the step before, which are not here",
                 "ask the sender to restart the stream"};
  }
  return {};
}

}  // namespace

class CalibratedDecoder::Stream {
 public:
  Stream(std::shared_ptr<const Calibration> calibration, int threads)
      : calibration_(std::move(calibration)), pool_(threads), products_(*calibration_, pool_) {}

  Result<Tensor> decode(ByteSpan bytes, const StepContext& context, const DecodeLimits& limits);

 private:
  std::shared_ptr<const Calibration> calibration_;
  ChunkPool pool_;
  RowProducts products_;
  IndexTables tables_;
  std::optional<CalibratedState> state_;
  // Of the last frame, for their memory:
  CalibratedState next_;
  RecordAt record_;
  std::vector<std::int32_t> indices_;
};

Result<Tensor> CalibratedDecoder::Stream::decode(ByteSpan bytes, const StepContext& context,
                                                 const DecodeLimits& limits) {
  PINION_TRY(const ParsedFrame frame, parse_frame(bytes, limits));
  PINION_TRY_VOID(verify_checksum(bytes));
  PINION_TRY_VOID(check_fit(frame.header, *calibration_));
  if (frame.header.shape.elements() == 0) {
    state_.reset();
    return Tensor::empty(frame.header.dtype, frame.header.shape);
  }
  const CalibratedState* state = frame.header.previous && state_ ? &*state_ : nullptr;
  PINION_TRY_VOID(check_previous(frame.header, state));
  PINION_TRY(const CalibratedBody body, parse_calibrated(frame, *calibration_));
  const auto rows = static_cast<std::size_t>(rows_of(frame.header.shape));
  PINION_TRY_VOID(check_context(body.params, context, rows * calibration_->latents()));

  PINION_TRY(const RowBands bands, decode_bands(body.params.bands, body.band_map, rows,
                                                state == nullptr ? nullptr : &state->band_of_row, tables_));
  indices_.resize(calibration_->components() * rows);
  PINION_TRY_VOID(decode_index_chunks(
      body.chunks, {.params = body.components, .band_ends = bands.ends(), .values = indices_}, tables_,
      pool_));

  record_at(*calibration_, body.params.position, body.params.predictor, record_);
  products_.predict(record_, body.params, context, state, rows, next_.components);
  advance_components(body.params, bands, indices_, pool_, next_.components);
  Tensor tensor =
      products_.rebuild(record_, context, next_.components, frame.header.dtype, frame.header.shape);
  next_.checksum = frame.checksum;
  next_.band_of_row = bands.band_of_row();
  if (!state_) state_.emplace();
  std::swap(*state_, next_);
  return tensor;
}

CalibratedDecoder::CalibratedDecoder(std::shared_ptr<const Calibration> calibration, int threads)
    : stream_(std::make_unique<Stream>(std::move(calibration), threads)) {}
CalibratedDecoder::CalibratedDecoder(CalibratedDecoder&&) noexcept = default;
CalibratedDecoder& CalibratedDecoder::operator=(CalibratedDecoder&&) noexcept = default;
CalibratedDecoder::~CalibratedDecoder() = default;

Result<Tensor> CalibratedDecoder::decode(ByteSpan frame, const StepContext& context,
                                         const DecodeLimits& limits) {
  return stream_->decode(frame, context, limits);
}

}  // namespace pinion::codec
