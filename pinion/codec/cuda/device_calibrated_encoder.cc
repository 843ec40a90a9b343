#include <algorithm>
#include <cmath>
#include <cstring>

#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/calibrated/loudness_bands.h"
#include "pinion/codec/cuda/calibrated_state.h"
#include "pinion/codec/cuda/calibration_on_device.h"
#include "pinion/codec/cuda/pictures_on_device.h"
#include "pinion/codec/cuda/recorded_graph.h"
#include "pinion/codec/cuda/wide_products.h"

namespace pinion::codec {
namespace {

constexpr double kMaxTargetDb = 200;

Error misfit(std::string_view what) {
  return Error{Errc::kInvalidArgument, "calibrated coding: " + std::string(what), ""};
}

std::size_t features_of(const Calibration& calibration, bool with_history) {
  if (!with_history) return calibration.latents();
  return (calibration.has_history ? calibration.components() : 0) + 2 * calibration.latents();
}

class GraphCalibratedEncoder : public DeviceCalibratedEncoder {
 public:
  GraphCalibratedEncoder(std::shared_ptr<const DeviceCalibration> calibration, const CalibratedTarget& target,
                         std::size_t max_rows)
      : owner_(std::move(calibration)),
        there_(cuda::on_device(*owner_)),
        target_(target),
        max_rows_(max_rows) {}

  Result<void> prepare() {
    const cuda::DeviceScope scope(there_.device());
    PINION_TRY_VOID(graphs_.make());
    PINION_TRY_VOID(beside_.make());
    cuda::Parts measured(nullptr);
    place(measured);
    PINION_TRY_VOID(workspace_.reserve(measured.used()));
    cuda::Parts parts(workspace_.data());
    place(parts);
    PINION_TRY_VOID(cuda::check(cudaMemset(workspace_.data(), 0, workspace_.bytes()), "cannot clear memory"));
    const std::size_t components = calibration().components();
    PINION_TRY_VOID(frame_.reserve(cuda::index_slot_bytes(components, max_rows_) + cuda::kFrameSlack +
                                   max_rows_ * cuda::kIndexSlotBytes));
    PINION_TRY_VOID(pinned_.reserve(sizeof(cuda::CalibratedStep) + sizeof(cuda::CalibratedOutcome)));
    job_.tables = there_.tables();
    job_.predict.calibration = there_.arrays();
    job_.frame = frame_.data();
    if (may_transform()) PINION_TRY_VOID(pictures_.reserve(max_rows_, components));
    return state_.reserve(components, max_rows_);
  }

  Result<DeviceCalibratedFrame> encode(const TensorView& tensor, const DeviceStepContext& context,
                                       void* stream) override {
    const cuda::DeviceScope scope(there_.device());
    PINION_TRY_VOID(check_input(tensor, context));
    frame_bytes_ = 0;
    auto* const on = static_cast<cudaStream_t>(stream);
    if (tensor.elements() == 0) return encode_empty(tensor, on);
    const auto rows = static_cast<std::size_t>(rows_of(tensor.shape));
    const CalibratedParams params = first_params(
        calibration(), {context.sigma, context.previous_sigma, context.previous_latents != nullptr,
                        state_.is_there() && state_.rows() == rows});
    fill_step(tensor, context, params);
    const bool is_direct = tensor.dtype == DType::kBF16 && calibration().channels() % 8 == 0 &&
                           reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0 &&
                           (!there_.product_device().is_wide ||
                            cuda::make_tensor_map(there_.arrays(), tensor.data,
                                                  static_cast<std::uint32_t>(rows), step().tensor_map));
    if (!is_direct) PINION_TRY_VOID(make_room());
    if (uses_tiles(context.grid, rows)) PINION_TRY_VOID(pictures_.set(context.grid, rows, on));
    const cuda::CalibratedEncodeJob job = job_for(tensor, params, rows, is_direct, context.grid);
    PINION_TRY_VOID(graphs_.launch(
        {rows, job.dtype, job.is_direct, params.uses_history(), job.tiles.lines, job.tiles.columns},
        [&](cudaStream_t recorder) { return put_work(job, recorder); }, on));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "encoding failed"));
    const cuda::CalibratedOutcome& outcome = this->outcome();
    if (outcome.bad_latents != 0) return misfit("the latents hold NaN or infinity");
    if (outcome.not_finite != 0)
      return misfit("the tensor holds NaN or infinity, or is out of the range of the calibration");
    state_.take_next(outcome.frame.checksum, rows);
    frame_bytes_ = outcome.frame.frame_bytes;
    return DeviceCalibratedFrame{{frame_.data(), frame_bytes_, !params.uses_history()},
                                 outcome.coded_bits,
                                 outcome.output_snr_db,
                                 static_cast<double>(outcome.step)};
  }

  Result<ByteSpan> copy_to_host(void* stream) override {
    const cuda::DeviceScope scope(there_.device());
    auto* const on = static_cast<cudaStream_t>(stream);
    PINION_TRY_VOID(pinned_frame_.reserve(frame_bytes_));
    PINION_TRY_VOID(cuda::check(
        cudaMemcpyAsync(pinned_frame_.data(), frame_.data(), frame_bytes_, cudaMemcpyDeviceToHost, on),
        "cannot copy the frame"));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "cannot copy the frame"));
    return ByteSpan(pinned_frame_.data(), frame_bytes_);
  }

  void restart() override { state_.forget(); }

  void set_target(const CalibratedTarget& target) override { target_ = target; }

  Result<Matrix> copy_state(void* stream) const override {
    const cuda::DeviceScope scope(there_.device());
    return state_.copy(static_cast<cudaStream_t>(stream));
  }

  std::size_t scratch_bytes() const override { return workspace_.bytes() + pictures_.bytes(); }

 private:
  const Calibration& calibration() const { return there_.calibration(); }
  cuda::CalibratedStep& step() const { return *reinterpret_cast<cuda::CalibratedStep*>(pinned_.data()); }
  cuda::CalibratedOutcome& outcome() const {
    return *reinterpret_cast<cuda::CalibratedOutcome*>(pinned_.data() + sizeof(cuda::CalibratedStep));
  }

  // Whether frames of this calibration may have transformed residuals, as the CPU's encoder has it.
  bool may_transform() const { return calibration().latents() > 0 && !calibration().has_loudness; }

  // Sizes for the most rows.
  void place(cuda::Parts& parts) {
    const std::size_t components = calibration().components(), pitch = cuda::pitch_of(max_rows_);
    const std::size_t features = (features_of(calibration(), true) + 7) / 8 * 8;
    const bool has_bands = calibration().has_loudness || may_transform();
    const std::size_t in_bands = (has_bands ? cuda::kIndexBands : 1) * components;
    // Tokens are measured behind the bands of their coefficients.
    const std::size_t measured = in_bands + (may_transform() ? components : 0);
    cuda::PredictJob& predict = job_.predict;
    // What is 0 at first.
    job_.outcome = parts.take<cuda::CalibratedOutcome>(1);
    job_.done = parts.take<cuda::BlocksDone>(1);
    job_.scale_words = parts.take<std::uint32_t>(components * 2 + 4);
    cleared_bytes_ = parts.used();
    predict.step = step_there_ = parts.take<cuda::CalibratedStep>(1);
    for (__half*& part : predict.rows_side.parts) part = parts.take<__half>(pitch * features);
    for (__half*& part : predict.matrix) part = parts.take<__half>(components * features);
    predict.rows_side.row_scales = parts.take<float>(pitch);
    predict.prediction = parts.take<float>(components * pitch);
    job_.residual = parts.take<float>(components * pitch);
    job_.indices = parts.take<std::int32_t>(components * pitch);
    job_.deviations = parts.take<int>(measured);
    job_.costs = parts.take<float>(measured);
    job_.trial_errors = parts.take<double>(components);
    job_.errors = parts.take<double>(in_bands);
    job_.silences = parts.take<double>(in_bands);
    job_.silent_squares = parts.take<float>(in_bands);
    job_.expected_scales = parts.take<int>(components);
    job_.prices = parts.take<float>(in_bands * cuda::kClassShapes * cuda::kPricedScales);
    job_.own_scales = parts.take<std::uint8_t>(cuda::kClassShapes * components);
    job_.band_scales = parts.take<int>(cuda::kIndexBands);
    job_.offset_costs = parts.take<float>(cuda::kScaleOffsets * 2 * cuda::kClassShapes);
    job_.own_costs = parts.take<double>((components / cuda::kOwnScaleComponents + 1) * cuda::kClassShapes);
    job_.plan = parts.take<cuda::StepPlan>(1);
    job_.body = parts.take<cuda::BodyParts>(1);
    job_.grid = parts.take<cuda::IndexGrid>(1);
    job_.classes = parts.take<std::uint16_t>(in_bands);
    job_.active = parts.take<std::uint32_t>(components);
    job_.band_steps = parts.take<float>(cuda::kIndexBands);
    job_.places = parts.take<std::uint64_t>(cuda::kMostIndexChunks + 1);
    job_.coding.sizes = parts.take<std::uint32_t>(cuda::kMostIndexChunks + 1);
    slots_ = parts.take<std::byte>(cuda::index_slot_bytes(components, max_rows_));
    if (has_bands) job_.order = parts.take<cuda::RowOrder>(1);
    if (calibration().has_loudness) {
      job_.row_loudness = parts.take<float>(pitch);
      job_.row_at = parts.take<std::uint32_t>(pitch);
      job_.row_weights = parts.take<double>(pitch);
      job_.map_values = parts.take<std::int32_t>(pitch);
      job_.map_class = parts.take<std::uint16_t>(1);
      job_.coding.lead_slot = parts.take<std::byte>(pitch * cuda::kIndexSlotBytes + cuda::kChunkSlotBytes);
    }
  }

  Result<void> check_input(const TensorView& tensor, const DeviceStepContext& context) const {
    if (tensor.device != Device{Device::Kind::kCuda, there_.device()})
      return misfit("the tensor is not on the calibration's device");
    if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kF16 && tensor.dtype != DType::kBF16)
      return misfit("the tensor is of type " + std::string(pinion::name(tensor.dtype)));
    if (channels_of(tensor.shape) != static_cast<std::int64_t>(calibration().channels()))
      return misfit("the tensor has shape " + to_string(tensor.shape) + ", the calibration " +
                    std::to_string(calibration().channels()) + " channels");
    if (static_cast<std::size_t>(rows_of(tensor.shape)) > max_rows_)
      return Error{Errc::kTooLarge, "the tensor " + to_string(tensor.shape) + " passes the encoder's limits",
                   ""};
    if (tensor.elements() > 0 && calibration().latents() > 0 && context.latents == nullptr)
      return misfit("there are no latents");
    if (!(context.sigma >= 0 && context.sigma <= 1)) return misfit("sigma is outside [0, 1]");
    if (context.output_rows <= 0) return misfit("the output has no rows");
    return {};
  }

  void fill_step(const TensorView& tensor, const DeviceStepContext& context, const CalibratedParams& params) {
    const bool predicts = params.uses_history() && calibration().has_history;
    FrameHeader header{Mode::kCalibrated, tensor.dtype, tensor.shape, calibration().id, std::nullopt};
    if (predicts) header.previous = state_.checksum();
    const RecordScalars scalars = scalars_at(calibration(), params.position);
    cuda::CalibratedStep to;
    to.tensor = tensor.data;
    to.latents = context.latents;
    to.previous_latents = context.previous_latents;
    to.last_y = state_.y();
    to.next_y = state_.next_y();
    to.last_bands = predicts && calibration().has_loudness ? state_.bands() : nullptr;
    to.next_bands = state_.next_bands();
    to.records = there_.records_at(params.position);
    to.per_sigma = 1 / params.delta_sigma;
    to.signal = static_cast<double>(context.output_rows) * scalars.output_energy;
    to.allowed_error = to.signal * std::pow(10, -target_.output_snr_db / 10);
    to.floor = scalars.floor;
    to.loudness_bias = scalars.loudness_bias;
    to.has_previous = predicts;
    to.previous = predicts ? *header.previous : 0;
    std::copy_n(reinterpret_cast<const std::uint8_t*>(calibration().id.data()), kBasisIdBytes,
                to.calibration);
    // Before the size of the body, which is one byte here, the calibration's id and the checksum.
    const Bytes head = write_frame_header(header, 0);
    const std::size_t behind = 1 + kBasisIdBytes + (predicts ? kChecksumBytes : 0);
    to.head_bytes = static_cast<std::uint32_t>(head.size() - behind);
    PINION_ASSERT(to.head_bytes <= sizeof(to.head));
    std::memcpy(to.head, head.data(), to.head_bytes);
    ByteWriter body;
    write_calibrated_params(body, params, params.uses_history() && calibration().latents() > 0);
    to.params_bytes = static_cast<std::uint32_t>(body.size());
    PINION_ASSERT(to.params_bytes <= sizeof(to.params));
    std::memcpy(to.params, body.view().data(), to.params_bytes);
    std::memcpy(static_cast<void*>(&step()), &to, sizeof(to));
  }

  cuda::CalibratedEncodeJob job_for(const TensorView& tensor, const CalibratedParams& params,
                                    std::size_t rows, bool is_direct, const TokenGrid& grid) const {
    cuda::CalibratedEncodeJob job = job_;
    if (uses_tiles(grid, rows)) {
      job.tiles = pictures_.tiles(there_.tables());
      job.coefficient_order = pictures_.order();
      job.coefficients = pictures_.coefficients();
    } else if (calibration().has_loudness) {
      const LoudnessBands bands = loudness_bands(calibration().latents() > 0);
      job.band_growth = bands.step_growth;
      job.band_octaves = bands.octaves();
    } else {
      job.order = nullptr;
    }
    const Calibration& c = calibration();
    job.dtype = static_cast<std::uint8_t>(tensor.dtype);
    job.is_direct = is_direct;
    for (std::size_t part = 0; part < 2; ++part)
      job.centred[part] = reinterpret_cast<__nv_bfloat16*>(centred_.data() + part * centred_.bytes() / 2);
    cuda::PredictJob& predict = job.predict;
    predict.rows = static_cast<std::uint32_t>(rows);
    predict.pitch = cuda::pitch_of(rows);
    predict.with_history = params.uses_history();
    predict.sources = {predict.with_history && c.has_history ? static_cast<std::uint32_t>(c.components()) : 0,
                       false};
    predict.rows_side.features = static_cast<std::uint32_t>(features_of(c, predict.with_history));
    predict.rows_side.pitch = (predict.rows_side.features + 7) / 8 * 8;
    predict.not_finite = &job.outcome->bad_latents;
    job.coding.tables = there_.coding();
    job.coding.matrix = {job.grid, job.classes, job.active, predict.rows, predict.pitch};
    job.coding.values = job.indices;
    job.coding.slots = slots_;
    job.coding.lead = job.map_values;
    job.coding.lead_class = job.map_class;
    return job;
  }

  bool uses_tiles(const TokenGrid& grid, std::size_t rows) const {
    return may_transform() && is_whole_pictures(rows, grid);
  }

  // A tensor that is no side of a product as it is gets a centred copy; few streams need one.
  Result<void> make_room() {
    return centred_.reserve(std::size_t{2} * sizeof(__nv_bfloat16) * max_rows_ *
                            there_.arrays().padded_channels);
  }

  Result<void> put_work(const cuda::CalibratedEncodeJob& job, cudaStream_t on) const {
    cudaMemcpyAsync(step_there_, &step(), sizeof(cuda::CalibratedStep), cudaMemcpyHostToDevice, on);
    cudaMemsetAsync(job.outcome, 0, cleared_bytes_, on);
    if (job.row_at != nullptr) cuda::launch_row_order(job, on);
    cuda::launch_prediction(job.predict, there_.product_device(), on);
    cuda::launch_projection(job, there_.product_device(), on);
    if (job.tiles.is_there()) cuda::launch_transform(job, on);
    cuda::launch_quantisation(job, on);
    cuda::launch_class_choice(job, on);
    // y is nothing to the frame: it comes beside it.
    PINION_TRY_VOID(beside_.begin_behind(on));
    cuda::launch_advance(
        {job.predict.step, job.predict.prediction, job.indices, job.classes, job.grid, job.row_at,
         job.band_steps, job.predict.rows, job.predict.pitch, job.predict.calibration.components, job.tiles},
        beside_.stream());
    cuda::launch_index_encoding(job.coding, on);
    cuda::launch_calibrated_assembly(job, on);
    cuda::EncodeJob checksum;
    checksum.frame = job.frame;
    checksum.crc = there_.crc();
    checksum.outcome = &job.outcome->frame;
    cuda::launch_checksum(checksum, frame_.bytes(), on);
    PINION_TRY_VOID(beside_.end_before(on));
    cudaMemcpyAsync(&outcome(), job.outcome, sizeof(cuda::CalibratedOutcome), cudaMemcpyDeviceToHost, on);
    return cuda::check(cudaGetLastError(), "cannot start kernels");
  }

  Result<DeviceCalibratedFrame> encode_empty(const TensorView& tensor, cudaStream_t on) {
    const Bytes frame =
        write_frame({Mode::kCalibrated, tensor.dtype, tensor.shape, std::nullopt, std::nullopt}, {});
    PINION_TRY_VOID(
        cuda::check(cudaMemcpyAsync(frame_.data(), frame.data(), frame.size(), cudaMemcpyHostToDevice, on),
                    "cannot begin"));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "encoding failed"));
    state_.forget();
    frame_bytes_ = frame.size();
    constexpr double kMaxSnrDb = 300;
    return DeviceCalibratedFrame{{frame_.data(), frame_bytes_, true}, 0, kMaxSnrDb, 0};
  }

  std::shared_ptr<const DeviceCalibration> owner_;
  const cuda::CalibrationOnDevice& there_;
  CalibratedTarget target_;
  std::size_t max_rows_;
  cuda::DeviceMemory workspace_, frame_, centred_;
  cuda::PinnedMemory pinned_, pinned_frame_;
  cuda::CalibratedStateOnDevice state_;
  cuda::PicturesOnDevice pictures_;
  cuda::RecordedGraphs graphs_;
  cuda::SideStream beside_;
  cuda::CalibratedEncodeJob job_;  // with the workspace's places
  cuda::CalibratedStep* step_there_ = nullptr;
  std::byte* slots_ = nullptr;
  std::size_t cleared_bytes_ = 0, frame_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<DeviceCalibratedEncoder>> DeviceCalibratedEncoder::create(
    std::shared_ptr<const DeviceCalibration> calibration, const CalibratedTarget& target,
    std::size_t max_rows) {
  if (target.frame_bytes != 0)
    return Error{Errc::kUnsupported, "an encoder on a device takes no budget of bytes", "use the CPU's"};
  if (!(target.output_snr_db > 0 && target.output_snr_db <= kMaxTargetDb))
    return misfit("the target must be more than 0 and at most 200 dB");
  auto encoder = std::make_unique<GraphCalibratedEncoder>(std::move(calibration), target, max_rows);
  PINION_TRY_VOID(encoder->prepare());
  return std::unique_ptr<DeviceCalibratedEncoder>(std::move(encoder));
}

}  // namespace pinion::codec
