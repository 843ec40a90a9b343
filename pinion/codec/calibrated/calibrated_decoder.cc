#include "pinion/codec/calibrated/low_frequencies.h"
#include "pinion/codec/calibrated/row_products.h"

namespace pinion::codec {

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
  std::vector<std::int32_t> indices_, low_indices_;
};

Result<Tensor> CalibratedDecoder::Stream::decode(ByteSpan bytes, const StepContext& context,
                                                 const DecodeLimits& limits) {
  PINION_TRY(const ParsedFrame frame, parse_frame(bytes, limits));
  PINION_TRY_VOID(verify_checksum(bytes));
  PINION_TRY_VOID(check_calibrated_fit(frame.header, *calibration_));
  if (frame.header.shape.elements() == 0) {
    state_.reset();
    return Tensor::empty(frame.header.dtype, frame.header.shape);
  }
  const CalibratedState* state = frame.header.previous && state_ ? &*state_ : nullptr;
  PINION_TRY_VOID(check_calibrated_previous(frame.header,
                                            state == nullptr ? std::nullopt : std::optional(state->checksum),
                                            state == nullptr ? 0 : state->components.columns));
  PINION_TRY(const CalibratedBody body, parse_calibrated(frame, *calibration_));
  const auto rows = static_cast<std::size_t>(rows_of(frame.header.shape));
  PINION_TRY_VOID(check_latents(body.params, rows * calibration_->latents(), context.latents.size(),
                                context.previous_latents.size()));

  PINION_TRY(const RowBands bands,
             decode_order(body, rows, state == nullptr ? nullptr : &state->band_of_row, tables_));
  indices_.resize(calibration_->components() * rows);
  PINION_TRY_VOID(decode_index_chunks(
      body.chunks, {.params = body.components, .band_ends = bands.ends(), .values = indices_}, tables_,
      pool_));

  if (body.low) {
    PINION_TRY_VOID(decode_low_frequencies(*body.low, rows, tables_, pool_, low_indices_));
  }
  record_at(*calibration_, body.params.position, body.params.predictor, record_);
  products_.predict(record_, body.params, context, state, rows, next_.components);
  if (body.low) add_low_frequencies(body.low->params, low_indices_, pool_, next_.components);
  advance_components(body.params, bands, indices_, pool_, next_.components);
  Tensor tensor =
      products_.rebuild(record_, context, next_.components, frame.header.dtype, frame.header.shape);
  next_.checksum = frame.checksum;
  next_.band_of_row = bands_left_by(body.params, bands);
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
