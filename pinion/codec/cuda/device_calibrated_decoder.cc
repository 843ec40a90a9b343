#include <algorithm>
#include <cstring>

#include "pinion/codec/calibrated/low_frequencies.h"
#include "pinion/codec/cuda/calibrated_state.h"
#include "pinion/codec/cuda/calibration_on_device.h"

namespace pinion::codec {
namespace {

// What the host says of a matrix of indices.
struct MatrixParts {
  cuda::IndexGrid* grid = nullptr;
  float* band_steps = nullptr;
  std::uint16_t* classes = nullptr;
  std::uint32_t* active = nullptr;
  std::uint64_t* places = nullptr;
  std::uint32_t* sizes = nullptr;
  // The row at each place in coded order, or of coefficients the place of each row.
  std::uint32_t* row_places = nullptr;

  MatrixParts() = default;
  // `rows` whose order is not that of the code; 0: it is.
  MatrixParts(cuda::Parts& parts, std::size_t components, std::size_t bands, std::size_t chunks,
              std::size_t rows)
      : grid(parts.take<cuda::IndexGrid>(1)),
        band_steps(parts.take<float>(cuda::kIndexBands)),
        classes(parts.take<std::uint16_t>(components * bands)),
        active(parts.take<std::uint32_t>(components)),
        places(parts.take<std::uint64_t>(chunks)),
        sizes(parts.take<std::uint32_t>(chunks)),
        row_places(parts.take<std::uint32_t>(rows)) {}
};

// How large a frame's parts are.
struct PartSizes {
  std::size_t bands = 0, chunks = 0, rows = 0;
  std::size_t low_bands = 0, low_chunks = 0, low_rows = 0;
};

// What the host says of a frame, written to page-locked memory and sent in one piece.
struct FrameParts {
  cuda::CalibratedStep* step = nullptr;
  MatrixParts rows, low;

  FrameParts() = default;
  FrameParts(cuda::Parts& parts, std::size_t components, const PartSizes& sizes)
      : step(parts.take<cuda::CalibratedStep>(1)),
        rows(parts, components, sizes.bands, sizes.chunks, sizes.bands > 1 ? sizes.rows : 0),
        low(parts, components, sizes.low_bands, sizes.low_chunks, sizes.low_rows) {}
};

struct DecodeVerdict {
  cuda::DecodeOutcome outcome;
  std::uint32_t bad_latents;
};

class KernelCalibratedDecoder : public DeviceCalibratedDecoder {
 public:
  KernelCalibratedDecoder(std::shared_ptr<const DeviceCalibration> calibration, std::size_t max_rows)
      : owner_(std::move(calibration)), there_(cuda::on_device(*owner_)), max_rows_(max_rows) {}

  Result<void> prepare() {
    const cuda::DeviceScope scope(there_.device());
    cuda::Parts measured(nullptr);
    place(measured);
    PINION_TRY_VOID(workspace_.reserve(measured.used()));
    cuda::Parts parts(workspace_.data());
    place(parts);
    PINION_TRY_VOID(cuda::check(cudaMemset(workspace_.data(), 0, workspace_.bytes()), "cannot clear memory"));
    PINION_TRY_VOID(pinned_verdict_.reserve(sizeof(DecodeVerdict)));
    const std::size_t components = calibration().components();
    PINION_TRY_VOID(frame_.reserve(components * max_rows_ + cuda::kFrameSlack));
    PINION_TRY_VOID(reserve_parts({.bands = cuda::kIndexBands,
                                   .chunks = cuda::kMostIndexChunks,
                                   .rows = max_rows_,
                                   .low_bands = kFrequencyClasses - 1,
                                   .low_chunks = cuda::kMostIndexChunks,
                                   .low_rows = max_rows_}));
    PINION_TRY_VOID(verifying_.make());
    PINION_TRY_VOID(coding_.make());
    return state_.reserve(components, max_rows_);
  }

  Result<TensorView> decode(ByteSpan bytes, const DeviceStepContext& context, std::span<std::byte> out,
                            const DecodeLimits& limits, void* stream, const std::byte* on_device) override {
    const cuda::DeviceScope scope(there_.device());
    auto* const on = static_cast<cudaStream_t>(stream);
    PINION_TRY(const ParsedFrame frame, parse_frame(bytes, limits));
    const FrameHeader& header = frame.header;
    const TensorView tensor{out.data(), header.dtype, header.shape,
                            Device{Device::Kind::kCuda, there_.device()}};
    if (tensor.bytes() > out.size())
      return Error{Errc::kTooLarge,
                   "the tensor " + to_string(header.shape) + " does not fit where it is to go", ""};
    const auto rows = static_cast<std::size_t>(rows_of(header.shape));
    if (header.shape.elements() == 0 || rows > max_rows_) {
      PINION_TRY_VOID(verify_checksum(bytes));
      PINION_TRY_VOID(check_calibrated_fit(header, calibration()));
      if (header.shape.elements() > 0)
        return Error{Errc::kTooLarge,
                     "the tensor " + to_string(header.shape) + " passes the decoder's limits", ""};
      state_.forget();
      return tensor;
    }
    PINION_ASSERT(reinterpret_cast<std::uintptr_t>(out.data()) % 16 == 0);
    PINION_TRY(const std::byte* const sent, send(bytes, on, on_device));
    PINION_TRY_VOID(begin_verification(sent, bytes.size(), on));
    Result<void> decoded = start(frame, bytes, context, out.data(), sent, on);
    // Whatever was begun comes to its end, and a damaged frame may ask for anything: its checksum speaks
    // first.
    Result<void> finished = finish(on);
    if (!decoded.ok() && (finished.ok() || !is_damaged_)) return std::move(decoded).error();
    PINION_TRY_VOID(finished);
    state_.take_next(frame.checksum, rows);
    last_bands_ = std::move(next_bands_);
    return tensor;
  }

  Result<Matrix> copy_state(void* stream) const override {
    const cuda::DeviceScope scope(there_.device());
    return state_.copy(static_cast<cudaStream_t>(stream));
  }

  std::size_t scratch_bytes() const override { return workspace_.bytes() + parts_.bytes(); }

 private:
  const Calibration& calibration() const { return there_.calibration(); }

  void place(cuda::Parts& parts) {
    const Calibration& c = calibration();
    const std::size_t components = c.components(), latents = c.latents(), pitch = cuda::pitch_of(max_rows_);
    const std::size_t features = ((c.has_history ? components : 0) + 2 * latents + 7) / 8 * 8;
    const std::size_t known = there_.arrays().padded_known;
    verdict_ = parts.take<DecodeVerdict>(1);
    for (__half*& part : predict_.rows_side.parts)
      part = parts.take<__half>(pitch * std::max(features, known));
    for (__half*& part : predict_.matrix) part = parts.take<__half>(components * features);
    predict_.rows_side.row_scales = parts.take<float>(pitch);
    predict_.prediction = parts.take<float>(components * pitch);
    indices_ = parts.take<std::int32_t>(components * pitch);
    low_indices_ = parts.take<std::int32_t>(components * pitch);
  }

  // Room for what the host says of a frame, and its place there.
  struct Room {
    FrameParts here, there;
    std::size_t bytes = 0;
  };
  Result<Room> reserve_parts(const PartSizes& sizes) {
    const std::size_t components = calibration().components();
    cuda::Parts measured(nullptr);
    FrameParts(measured, components, sizes);
    PINION_TRY_VOID(parts_.reserve(measured.used()));
    PINION_TRY_VOID(pinned_parts_.reserve(measured.used()));
    cuda::Parts here(pinned_parts_.data()), there(parts_.data());
    return Room{FrameParts(here, components, sizes), FrameParts(there, components, sizes), measured.used()};
  }

  Result<const std::byte*> send(ByteSpan bytes, cudaStream_t on, const std::byte* on_device) {
    if (on_device != nullptr) return on_device;
    PINION_TRY_VOID(frame_.reserve(bytes.size()));
    PINION_TRY_VOID(
        cuda::check(cudaMemcpyAsync(frame_.data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice, on),
                    "cannot send the frame"));
    return static_cast<const std::byte*>(frame_.data());
  }

  Result<void> begin_verification(const std::byte* frame, std::size_t frame_bytes, cudaStream_t on) {
    PINION_TRY_VOID(
        cuda::check(cudaMemsetAsync(verdict_, 0, sizeof(DecodeVerdict), on), "cannot begin decoding"));
    PINION_TRY_VOID(verifying_.begin_behind(on));
    cuda::launch_verification(there_.crc(), frame, frame_bytes, &verdict_->outcome, nullptr,
                              verifying_.stream());
    return {};
  }

  // Reads the frame's fields and starts what follows from them.
  Result<void> start(const ParsedFrame& frame, ByteSpan bytes, const DeviceStepContext& context,
                     std::byte* out, const std::byte* sent, cudaStream_t on) {
    const Calibration& c = calibration();
    PINION_TRY_VOID(check_calibrated_fit(frame.header, c));
    PINION_TRY_VOID(
        check_calibrated_previous(frame.header, state_.checksum(), state_.is_there() ? state_.rows() : 0));
    PINION_TRY(const CalibratedBody body, parse_calibrated(frame, c));
    const auto rows = static_cast<std::size_t>(rows_of(frame.header.shape));
    const std::size_t wanted = rows * c.latents();
    PINION_TRY_VOID(check_latents(body.params, wanted, context.latents == nullptr ? 0 : wanted,
                                  context.previous_latents == nullptr ? 0 : wanted));
    PINION_TRY(const RowBands bands,
               decode_order(body, rows, frame.header.previous ? &last_bands_ : nullptr, index_tables_));
    next_bands_ = bands_left_by(body.params, bands);
    PartSizes sizes{.bands = bands.count(), .chunks = body.chunks.chunks.size(), .rows = rows};
    if (body.low) {
      sizes.low_bands = body.low->params.bands.count;
      sizes.low_chunks = body.low->chunks.chunks.size();
      sizes.low_rows = rows;
    }
    PINION_TRY(const Room room, reserve_parts(sizes));
    fill(room, frame, body, bands, bytes, context, out);
    PINION_TRY_VOID(cuda::check(
        cudaMemcpyAsync(parts_.data(), pinned_parts_.data(), room.bytes, cudaMemcpyHostToDevice, on),
        "cannot send the frame's fields"));
    return launch(room, frame, body, bands.count() > 1, sent, on);
  }

  void fill(const Room& room, const ParsedFrame& frame, const CalibratedBody& body, const RowBands& bands,
            ByteSpan bytes, const DeviceStepContext& context, std::byte* out) const {
    const FrameParts& here = room.here;
    cuda::CalibratedStep step;
    step.out = out;
    step.latents = context.latents;
    step.previous_latents = context.previous_latents;
    step.last_y = state_.y();
    step.next_y = state_.next_y();
    step.records = there_.records_at(body.params.position);
    step.per_sigma = 1 / body.params.delta_sigma;
    std::memcpy(static_cast<void*>(here.step), &step, sizeof(step));
    fill_matrix(here.rows, body.params, body.components, body.chunks, bands.ends(), bytes);
    const auto rows = static_cast<std::size_t>(rows_of(frame.header.shape));
    for (std::size_t i = 0; bands.count() > 1 && i < rows; ++i) {
      const auto row = static_cast<std::uint32_t>(bands.row_at(i)), place = static_cast<std::uint32_t>(i);
      if (body.params.layout == RowLayout::kCoefficients) {
        here.rows.row_places[row] = place;
      } else {
        here.rows.row_places[place] = row;
      }
    }
    if (!body.low) return;
    const CalibratedParams& low = body.low->params;
    fill_matrix(here.low, low, body.low->components, body.low->chunks,
                low_bands(low.grid, rows, low.bands.count).ends(), bytes);
    const RowBands order(frequency_classes(low.grid, rows), kFrequencyClasses);
    for (std::size_t i = 0; i < rows; ++i)
      here.low.row_places[order.row_at(i)] = static_cast<std::uint32_t>(i);
  }

  void fill_matrix(const MatrixParts& here, const CalibratedParams& params, const ComponentParams& components,
                   const IndexChunks& chunks, std::span<const std::size_t> band_ends, ByteSpan bytes) const {
    const std::size_t bands = band_ends.size();
    cuda::IndexGrid grid;
    grid.bands = static_cast<std::uint32_t>(bands);
    std::copy(band_ends.begin(), band_ends.end(), grid.band_ends);
    std::uint32_t active = 0;
    for (std::size_t k = 0; k < components.scales.size(); ++k) {
      for (std::size_t band = 0; band < bands; ++band)
        here.classes[k * bands + band] = cuda::code_of_class(components.index_class(k, band));
      if (components.scales[k] > 0) here.active[active++] = static_cast<std::uint32_t>(k);
    }
    grid.active = active;
    grid.lanes = static_cast<std::uint32_t>(chunks.grid.lanes);
    grid.tile_rows = static_cast<std::uint32_t>(chunks.grid.tile_rows);
    grid.group_components = static_cast<std::uint32_t>(chunks.grid.group_components);
    grid.tiles = static_cast<std::uint32_t>((band_ends.back() - 1) / chunks.grid.tile_rows + 1);
    grid.groups = static_cast<std::uint32_t>(chunks.chunks.size()) / grid.tiles;
    std::memcpy(here.grid, &grid, sizeof(grid));
    for (std::size_t band = 0; band < cuda::kIndexBands; ++band)
      here.band_steps[band] =
          there_.step(params.step_log2 + static_cast<int>(band) * params.bands.step_growth);
    for (std::size_t i = 0; i < chunks.chunks.size(); ++i) {
      here.places[i] = static_cast<std::uint64_t>(chunks.chunks[i].data() - bytes.data());
      here.sizes[i] = static_cast<std::uint32_t>(chunks.chunks[i].size());
    }
  }

  void start_indices(const MatrixParts& there, const IndexChunks& chunks, std::uint32_t rows,
                     std::uint32_t pitch, const std::byte* sent, std::int32_t* indices) {
    cuda::IndexDecodeJob coding;
    coding.tables = there_.coding();
    coding.matrix = {there.grid, there.classes, there.active, rows, pitch};
    coding.chunks = static_cast<std::uint32_t>(chunks.chunks.size());
    coding.frame = sent;
    coding.places = there.places;
    coding.sizes = there.sizes;
    coding.values = indices;
    coding.broken = &verdict_->outcome.broken;
    cuda::launch_index_decoding(coding, coding_.stream());
  }

  Result<void> launch(const Room& room, const ParsedFrame& frame, const CalibratedBody& body, bool has_bands,
                      const std::byte* sent, cudaStream_t on) {
    const Calibration& c = calibration();
    const auto rows = static_cast<std::uint32_t>(rows_of(frame.header.shape));
    const std::uint32_t pitch = cuda::pitch_of(rows);
    const bool history = body.params.uses_history();
    const auto components = static_cast<std::uint32_t>(c.components());

    PINION_TRY_VOID(coding_.begin_behind(on));
    if (body.low) {
      const CalibratedParams& low = body.low->params;
      start_indices(room.there.low, body.low->chunks,
                    static_cast<std::uint32_t>(low_bands(low.grid, rows, low.bands.count).rows()), pitch,
                    sent, low_indices_);
    }
    start_indices(room.there.rows, body.chunks, rows, pitch, sent, indices_);

    cuda::PredictJob predict = predict_;
    predict.calibration = there_.arrays();
    predict.step = room.there.step;
    predict.rows = rows;
    predict.pitch = pitch;
    predict.with_history = history;
    predict.sources = {history && c.has_history ? components : 0, false};
    predict.rows_side.features =
        predict.sources.components + static_cast<std::uint32_t>((history ? 2 : 1) * c.latents());
    predict.rows_side.pitch = (predict.rows_side.features + 7) / 8 * 8;
    predict.not_finite = &verdict_->bad_latents;
    cuda::launch_prediction(predict, there_.product_device(), on);
    PINION_TRY_VOID(coding_.end_before(on));
    const auto tiles_of = [&](const TokenGrid& grid, const MatrixParts& there) {
      return cuda::TokenTiles{static_cast<std::uint32_t>(grid.lines),
                              static_cast<std::uint32_t>(grid.columns), there.row_places,
                              there_.tables().cosines};
    };
    cuda::AdvanceJob advance{.step = predict.step,
                             .prediction = predict.prediction,
                             .rows = rows,
                             .pitch = pitch,
                             .components = components};
    if (body.low) {
      cuda::AdvanceJob low = advance;
      set_matrix(room.there.low, low_indices_, low);
      low.tiles = tiles_of(body.low->params.grid, room.there.low);
      low.sum = predict.prediction;
      cuda::launch_advance(low, on);
    }
    set_matrix(room.there.rows, indices_, advance);
    if (body.params.layout == RowLayout::kCoefficients) {
      advance.tiles = tiles_of(body.params.grid, room.there.rows);
    } else if (has_bands) {
      advance.row_at = room.there.rows.row_places;
    }
    cuda::launch_advance(advance, on);

    cuda::RebuildJob rebuild;
    rebuild.calibration = there_.arrays();
    rebuild.step = room.there.step;
    rebuild.rows = rows;
    rebuild.pitch = pitch;
    rebuild.dtype = static_cast<std::uint8_t>(frame.header.dtype);
    rebuild.rows_side = predict_.rows_side;
    rebuild.rows_side.features = components + static_cast<std::uint32_t>(c.latents());
    rebuild.rows_side.pitch = there_.arrays().padded_known;
    // One product's error is an eighth of what bfloat16 rounds off, but not of what the others do.
    rebuild.rows_side.part_count = frame.header.dtype == DType::kBF16 ? 1 : 2;
    cuda::launch_rebuilding(rebuild, there_.product_device(), on);
    return {};
  }

  static void set_matrix(const MatrixParts& there, const std::int32_t* indices, cuda::AdvanceJob& job) {
    job.indices = indices;
    job.classes = there.classes;
    job.grid = there.grid;
    job.steps = there.band_steps;
  }

  // Waits for everything on the stream and says whether the frame was good.
  Result<void> finish(cudaStream_t on) {
    is_damaged_ = false;
    PINION_TRY_VOID(cuda::check(cudaGetLastError(), "cannot start kernels"));
    PINION_TRY_VOID(verifying_.end_before(on));
    PINION_TRY_VOID(cuda::check(
        cudaMemcpyAsync(pinned_verdict_.data(), verdict_, sizeof(DecodeVerdict), cudaMemcpyDeviceToHost, on),
        "cannot read the outcome"));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "decoding failed"));
    DecodeVerdict read;
    std::memcpy(&read, pinned_verdict_.data(), sizeof(read));
    is_damaged_ = read.outcome.wrong_checksum != 0;
    if (is_damaged_)
      return Error{Errc::kBadFormat, "coded frame is damaged: its checksum does not match", "send it again"};
    if (read.outcome.broken != 0)
      return Error{Errc::kBadFormat, "coded frame does not hold what it should", ""};
    if (read.bad_latents != 0)
      return Error{Errc::kInvalidArgument, "calibrated coding: the latents hold NaN or infinity", ""};
    return {};
  }

  std::shared_ptr<const DeviceCalibration> owner_;
  const cuda::CalibrationOnDevice& there_;
  std::size_t max_rows_;
  cuda::DeviceMemory workspace_, frame_, parts_;
  cuda::PinnedMemory pinned_parts_, pinned_verdict_;
  cuda::CalibratedStateOnDevice state_;
  cuda::SideStream verifying_, coding_;
  cuda::PredictJob predict_;  // with the workspace's places
  DecodeVerdict* verdict_ = nullptr;
  std::int32_t *indices_ = nullptr, *low_indices_ = nullptr;
  std::vector<std::uint8_t> last_bands_, next_bands_;  // of each row; empty: all in the first
  IndexTables index_tables_;
  bool is_damaged_ = false;
};

}  // namespace

Result<std::unique_ptr<DeviceCalibratedDecoder>> DeviceCalibratedDecoder::create(
    std::shared_ptr<const DeviceCalibration> calibration, std::size_t max_rows) {
  auto decoder = std::make_unique<KernelCalibratedDecoder>(std::move(calibration), max_rows);
  PINION_TRY_VOID(decoder->prepare());
  return std::unique_ptr<DeviceCalibratedDecoder>(std::move(decoder));
}

}  // namespace pinion::codec
