#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "pinion/codec/cuda/basis_analysis.h"
#include "pinion/codec/cuda/class_prices.h"
#include "pinion/codec/cuda/device_fidelity_codec.h"
#include "pinion/codec/cuda/device_session.h"
#include "pinion/codec/cuda/device_upload.h"
#include "pinion/codec/cuda/fidelity_encode_kernels.h"
#include "pinion/codec/cuda/fidelity_encode_memory.h"
#include "pinion/codec/cuda/fidelity_state.h"
#include "pinion/codec/cuda/index_tables_on_device.h"
#include "pinion/codec/cuda/recorded_graph.h"
#include "pinion/codec/fidelity/fidelity_format.h"

namespace pinion::codec {
namespace {

constexpr double kMostTargetDb = 100;
constexpr double kOnePartDb = 32;                 // above, rounding the analysis to one part would show
constexpr std::size_t kMostComponents = 1 << 16;  // that are channels
constexpr int kMostAttempts = 12;                 // one is usual
constexpr int kFreeAttempts = 4;                  // at the target; the others go below it step by step
constexpr double kMostMiss = 0.05;                // of the error to the target: a fifth of a decibel
constexpr double kMostCorrection = 1.25;          // of the goal, that the next frame begins with
constexpr float kLowered = 0.8f;                  // a step that missed the target
constexpr double kLarge = 0.5;                    // of the tensor: a lossless frame may be smaller

bool has_fidelity(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

std::uint32_t blocks_of(std::size_t count, std::size_t size) {
  return static_cast<std::uint32_t>((count + size - 1) / size);
}

class GraphFidelityEncoder : public DeviceFidelityEncoder {
 public:
  GraphFidelityEncoder(double target_snr_db, const DecodeLimits& limits, const DeviceFidelityOptions& options)
      : target_snr_db_(target_snr_db), limits_(limits), options_(options) {}

  Result<void> prepare() {
    const cuda::DeviceScope scope(options_.device);
    int shared_bytes = 0;
    PINION_TRY_VOID(cuda::check(
        cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, options_.device),
        "cannot ask for the device's shared memory"));
    PINION_TRY_VOID(cuda::check(
        cudaDeviceGetAttribute(&device_.processors, cudaDevAttrMultiProcessorCount, options_.device),
        "cannot ask for the device's size"));
    device_.shared_bytes = static_cast<std::size_t>(shared_bytes);
    PINION_TRY_VOID(cuda::check(cuda::allow_analysis(device_), "cannot use shared memory"));
    PINION_TRY_VOID(coding_.make());
    PINION_TRY_VOID(crc_.make());
    PINION_TRY_VOID(beside_.make());
    IndexTables tables;
    cuda::Upload upload;
    upload.add(job_.tables.costs, cuda::class_costs(tables));
    upload.add(job_.tables.codes, cuda::class_codes());
    for (int shape = 0; shape < kShapes; ++shape)
      job_.tables.max_scales[shape] = static_cast<std::uint8_t>(max_scale(shape));
    PINION_TRY_VOID(upload.finish(table_memory_));
    PINION_TRY_VOID(pinned_.reserve(sizeof(cuda::FidelityStep) + sizeof(cuda::FidelityOutcome)));
    job_.frame_room = limits_.max_tensor_bytes + cuda::kFrameSlack;
    PINION_TRY_VOID(frame_.reserve(job_.frame_room + cuda::kFrameSlack));
    job_.frame = frame_.data();
    return {};
  }

  Result<Bytes> learn_basis(const TensorView& tensor, void* stream) override {
    const cuda::DeviceScope scope(options_.device);
    PINION_TRY_VOID(check_tensor(tensor));
    auto* const on = static_cast<cudaStream_t>(stream);
    Tensor here = Tensor::empty(tensor.dtype, tensor.shape);
    PINION_TRY_VOID(cuda::check(
        cudaMemcpyAsync(here.mutable_data(), tensor.data, tensor.bytes(), cudaMemcpyDeviceToHost, on),
        "cannot copy the tensor"));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "cannot copy the tensor"));
    PINION_TRY(const auto encoder,
               Encoder::create({.mode = Mode::kFidelity, .target_snr_db = target_snr_db_}));
    PINION_TRY(EncodedFrame encoded, encoder->encode(here));
    return std::move(encoded.basis);
  }

  Result<void> use_basis(ByteSpan asset) override {
    const cuda::DeviceScope scope(options_.device);
    std::shared_ptr<const BasisFit> fit;
    if (!asset.empty()) {
      PINION_TRY(fit, fit_basis(Bytes(asset.begin(), asset.end())));
    }
    rows_ = channels_ = 0;  // what was placed for the basis before is not for this one
    restart();
    analysis_ = {};
    return fit == nullptr ? Result<void>{} : analysis_.make(std::move(fit), analysis_parts());
  }

  Result<DeviceFidelityFrame> encode(const TensorView& tensor, void* stream) override {
    const cuda::DeviceScope scope(options_.device);
    PINION_TRY_VOID(check_tensor(tensor));
    auto* const on = static_cast<cudaStream_t>(stream);
    frame_bytes_ = 0;
    const auto rows = static_cast<std::size_t>(rows_of(tensor.shape)),
               channels = static_cast<std::size_t>(channels_of(tensor.shape));
    const bool codes = has_fidelity(tensor.dtype) && tensor.elements() > 0 &&
                       (analysis_.is_there() || channels <= kMostComponents);
    if (!codes) return encode_exactly(tensor, on);
    if (analysis_.is_there() && analysis_.channels() != channels)
      return Error{Errc::kInvalidArgument,
                   "the tensor has " + std::to_string(channels) + " channels, the basis " +
                       std::to_string(analysis_.channels()),
                   ""};
    if (rows != rows_ || channels != channels_) PINION_TRY_VOID(make_room(rows, channels));
    std::size_t references = state_.references();
    Aim aim{.goal_factor = goal_factor_};
    for (int attempt = 1;; ++attempt) {
      PINION_TRY_VOID(run(tensor, references, aim, on));
      const cuda::FidelityOutcome& outcome = this->outcome();
      if (outcome.not_finite != 0)
        return Error{Errc::kInvalidArgument,
                     "the tensor holds NaN or infinity, which fidelity mode cannot code",
                     "use lossless for it"};
      const bool last = attempt >= kMostAttempts;
      const bool out_of_range = (outcome.refusal & cuda::kOutOfRange) != 0 || outcome.advanced.broken != 0;
      if (out_of_range && references > 0 && !last) {
        references = 0;  // steps or states that lie too far apart
        continue;
      }
      if (outcome.refusal != 0 || out_of_range) return encode_exactly(tensor, on);
      const double ratio = outcome.error_ratio;
      // Few values make the error jump: then it is well to stay below the target.
      const bool may_stay_below = attempt >= kFreeAttempts || outcome.active == 0;
      if (std::abs(ratio - 1) <= kMostMiss || (ratio < 1 && may_stay_below))
        return take(tensor, references, aim.goal_factor, on);
      if (last || !std::isfinite(ratio)) return encode_exactly(tensor, on);
      aim.is_forced = attempt >= kFreeAttempts;
      aim.step = aim.is_forced ? kLowered * outcome.step : outcome.step;
      aim.goal_factor *= static_cast<float>(outcome.goal_ratio);
    }
  }

  Result<ByteSpan> copy_to_host(void* stream) override {
    if (frame_bytes_ == 0 && exact_ != nullptr) return exact_->copy_to_host(stream);
    const cuda::DeviceScope scope(options_.device);
    auto* const on = static_cast<cudaStream_t>(stream);
    PINION_TRY_VOID(pinned_frame_.reserve(frame_bytes_));
    PINION_TRY_VOID(cuda::check(
        cudaMemcpyAsync(pinned_frame_.data(), frame_.data(), frame_bytes_, cudaMemcpyDeviceToHost, on),
        "cannot copy the frame"));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "cannot copy the frame"));
    return ByteSpan(pinned_frame_.data(), frame_bytes_);
  }

  void restart() override {
    state_.forget();
    planned_factor_ = goal_factor_ = 1;
  }

  Result<std::vector<std::int32_t>> copy_state(void* stream) const override {
    const cuda::DeviceScope scope(options_.device);
    auto* const on = static_cast<cudaStream_t>(stream);
    std::vector<std::int32_t> state(state_.references() > 0 ? state_.count() : 0);
    if (state.empty()) return state;
    PINION_TRY_VOID(cuda::check(cudaMemcpyAsync(state.data(), state_.reference(0).components,
                                                4 * state.size(), cudaMemcpyDeviceToHost, on),
                                "cannot copy the state"));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "cannot copy the state"));
    return state;
  }

  std::size_t scratch_bytes() const override {
    return workspace_.bytes() + centred_.bytes() + state_.bytes() + analysis_.bytes();
  }

 private:
  // Where the steps to look at lie, 0 if the plan says; whether that one is taken.
  struct Aim {
    float step = 0;
    bool is_forced = false;
    float goal_factor = 1;
  };

  int analysis_parts() const { return target_snr_db_ > kOnePartDb ? 2 : 1; }
  cuda::FidelityStep& step() const { return *reinterpret_cast<cuda::FidelityStep*>(pinned_.data()); }
  cuda::FidelityOutcome& outcome() const {
    return *reinterpret_cast<cuda::FidelityOutcome*>(pinned_.data() + sizeof(cuda::FidelityStep));
  }

  Result<void> check_tensor(const TensorView& tensor) const {
    if (tensor.device != Device{Device::Kind::kCuda, options_.device})
      return Error{Errc::kInvalidArgument,
                   "the tensor is on " + pinion::name(tensor.device) + ", not on the encoder's device",
                   "copy it there"};
    if (tensor.bytes() > limits_.max_tensor_bytes ||
        static_cast<std::size_t>(channels_of(tensor.shape)) > limits_.max_channels)
      return Error{Errc::kTooLarge, "the tensor " + to_string(tensor.shape) + " passes the encoder's limits",
                   ""};
    return {};
  }

  // For tensors of that shape. What was recorded is for another one.
  Result<void> make_room(std::size_t rows, std::size_t channels) {
    rows_ = channels_ = 0;
    restart();
    const std::size_t components = analysis_.is_there() ? analysis_.components() : channels;
    job_.has_basis = analysis_.is_there();
    job_.analysis = analysis_.arrays();
    if (!job_.has_basis) job_.analysis = {};
    job_.analysis_parts = static_cast<std::uint8_t>(analysis_parts());
    job_.rows = static_cast<std::uint32_t>(rows);
    job_.channels = static_cast<std::uint32_t>(channels);
    job_.components = static_cast<std::uint32_t>(components);
    job_.pitch = static_cast<std::uint32_t>((rows + 31) / 32 * 32);
    graphs_.reset();
    cuda::Parts measured(nullptr);
    cuda::place_fidelity_job(measured, job_);
    PINION_TRY_VOID(workspace_.reserve(measured.used()));
    cuda::Parts parts(workspace_.data());
    cleared_bytes_ = cuda::place_fidelity_job(parts, job_);
    PINION_TRY_VOID(cuda::check(cudaMemset(workspace_.data(), 0, workspace_.bytes()), "cannot clear memory"));
    PINION_TRY_VOID(state_.reserve(components, rows, channels));
    PINION_TRY_VOID(graphs_.emplace().make());
    rows_ = rows;
    channels_ = channels;
    return {};
  }

  void fill_step(const TensorView& tensor, std::size_t references, const Aim& aim) {
    FrameHeader header{Mode::kFidelity, tensor.dtype, tensor.shape, std::nullopt, std::nullopt};
    if (analysis_.is_there()) header.basis = analysis_.id();
    if (references > 0) header.previous = state_.outline(0).checksum;
    cuda::FidelityStep to;
    to.tensor = tensor.data;
    to.error_ratio = std::pow(10, -target_snr_db_ / 10);
    for (std::size_t i = 0; i < references; ++i) to.steps_before[i] = state_.outline(i).step;
    if (references > 0) {
      const auto& last = state_.outline(0);
      to.mean_shift_before = last.mean_shift;
      to.mean_unit_before = static_cast<float>(std::ldexp(last.step / kStateOne, -last.mean_shift));
      to.previous = last.checksum;
    }
    to.first_step = aim.step;
    to.is_forced = aim.is_forced;
    to.goal_factor = aim.goal_factor;
    to.planned_factor = planned_factor_;
    if (header.basis) std::memcpy(to.basis, header.basis->data(), sizeof(to.basis));
    // Before the size of the body, which is one byte here, the basis's id and the checksum.
    const Bytes head = write_frame_header(header, 0);
    const std::size_t behind = 1 + (header.basis ? kBasisIdBytes : 0) + (references > 0 ? kChecksumBytes : 0);
    to.head_bytes = static_cast<std::uint32_t>(head.size() - behind);
    PINION_ASSERT(to.head_bytes <= sizeof(to.head));
    std::memcpy(to.head, head.data(), to.head_bytes);
    std::memcpy(static_cast<void*>(&step()), &to, sizeof(to));
  }

  cuda::FidelityEncodeJob job_for(const TensorView& tensor, std::size_t references) const {
    cuda::FidelityEncodeJob job = job_;
    const auto address = reinterpret_cast<std::uintptr_t>(tensor.data);
    job.dtype = static_cast<std::uint8_t>(tensor.dtype);
    job.is_aligned = job.channels % 4 == 0 && address % (4 * size_bytes(tensor.dtype)) == 0;
    job.is_direct =
        job.has_basis && tensor.dtype == DType::kBF16 && job.channels % 8 == 0 && address % 16 == 0;
    job.rounding_blocks = cuda::kRowParts * blocks_of(job.channels, job.is_aligned ? 1024 : 256);
    job.references = static_cast<std::uint32_t>(references);
    for (std::size_t i = 0; i < references; ++i)
      job.before[i] = {state_.reference(i).components, job.components};
    if (references > 0) {
      job.means_before = state_.reference(0).means;
      job.scales_before = state_.reference(0).scales;
    }
    job.next_state = state_.next().components;
    job.next_means = state_.next().means;
    job.next_scales = state_.next().scales;
    job.centred[0] = reinterpret_cast<__nv_bfloat16*>(centred_.data());
    job.centred[1] = job.centred[0] + std::size_t{job.rows} * job.analysis.pitch;
    job.coding.tables = coding_.tables();
    job.coding.matrix = {job.grid, job.classes, job.active, job.rows, job.rows};
    job.coding.values = job.residuals;
    job.coding.front = job.mean_residuals;
    job.coding.front_count = job.channels;
    job.coding.front_class = job.mean_class;
    return job;
  }

  Result<void> run(const TensorView& tensor, std::size_t references, const Aim& aim, cudaStream_t on) {
    fill_step(tensor, references, aim);
    cuda::FidelityEncodeJob job = job_for(tensor, references);
    if (job.has_basis && !job.is_direct && centred_.bytes() < centred_bytes()) {
      PINION_TRY_VOID(centred_.reserve(centred_bytes()));
      PINION_TRY_VOID(graphs_.emplace().make());
      job = job_for(tensor, references);
    }
    PINION_TRY_VOID(graphs_->launch(
        {job.dtype, job.is_direct, job.is_aligned, references, state_.turn()},
        [&](cudaStream_t recorder) { return put_work(job, recorder); }, on));
    return cuda::check(cudaStreamSynchronize(on), "encoding failed");
  }

  // Of a tensor that is no side of a product as it is; few streams need it.
  std::size_t centred_bytes() const {
    return std::size_t{2} * sizeof(__nv_bfloat16) * job_.rows * job_.analysis.pitch;
  }

  Result<void> put_work(const cuda::FidelityEncodeJob& job, cudaStream_t on) const {
    cudaMemcpyAsync(job.step, &step(), sizeof(cuda::FidelityStep), cudaMemcpyHostToDevice, on);
    cudaMemsetAsync(job.outcome, 0, cleared_bytes_, on);
    // Beside the analysis; a tensor that is no side of a product as it is has to be centred first.
    const bool needs_means = job.has_basis && !job.is_direct;
    if (needs_means) cuda::launch_channel_sums(job, on);
    PINION_TRY_VOID(beside_.begin_behind(on));
    if (!needs_means) cuda::launch_channel_sums(job, beside_.stream());
    cuda::launch_analysis(job, device_, on);
    PINION_TRY_VOID(beside_.begin_behind(on));
    if (job.has_basis) cuda::launch_inside(job, beside_.stream());
    cuda::launch_spreads(job, on);
    PINION_TRY_VOID(beside_.end_before(on));
    cuda::launch_step_plan(job, on);
    PINION_TRY_VOID(beside_.begin_behind(on));
    cuda::launch_row_sizes(job, beside_.stream());
    cuda::launch_step_choice(job, on);
    PINION_TRY_VOID(beside_.begin_behind(on));
    cuda::launch_mean_residuals(job, beside_.stream());
    cuda::launch_component_residuals(job, on);
    PINION_TRY_VOID(beside_.end_before(on));
    cuda::launch_parameter_choice(job, on);
    // What chunks do not need comes beside them: the parameters as bits, and the state.
    PINION_TRY_VOID(beside_.begin_behind(on));
    cuda::launch_parameter_packing(job, beside_.stream());
    cuda::launch_component_advance(advance_of(job), beside_.stream());
    cuda::launch_index_encoding(job.coding, on);
    PINION_TRY_VOID(beside_.end_before(on));
    cuda::launch_fidelity_assembly(job, on);
    cuda::EncodeJob checksum;
    checksum.frame = job.frame;
    checksum.crc = crc_.tables();
    checksum.outcome = &job.outcome->frame;
    cuda::launch_checksum(checksum, job.frame_room, on);
    cudaMemcpyAsync(&outcome(), job.outcome, sizeof(cuda::FidelityOutcome), cudaMemcpyDeviceToHost, on);
    return cuda::check(cudaGetLastError(), "cannot start kernels");
  }

  static cuda::FidelityAdvance advance_of(const cuda::FidelityEncodeJob& job) {
    cuda::FidelityAdvance advance;
    advance.rows = job.rows;
    advance.channels = job.channels;
    advance.components = job.components;
    advance.references = job.references;
    advance.grid = job.grid;
    advance.classes = job.classes;
    advance.offsets = job.offsets;
    advance.factors = job.factors;
    advance.residuals = job.residuals;
    for (std::size_t i = 0; i < cuda::kReferences; ++i) advance.before[i] = job.before[i];
    advance.state = job.next_state;
    advance.largest = &job.outcome->largest;
    advance.outcome = &job.outcome->advanced;
    return advance;
  }

  // The frame that was made last becomes the stream's.
  Result<DeviceFidelityFrame> take(const TensorView& tensor, std::size_t references, float goal_factor,
                                   cudaStream_t on) {
    const cuda::FidelityOutcome told = outcome();
    const double alike = static_cast<double>(told.row_bits);
    const double loss = alike > 0 ? 1 - static_cast<double>(told.row_bits_in_bands) / alike : 0;
    if (loss > options_.most_band_loss)
      return Error{Errc::kUnsupported,
                   "the rows differ too much in size for the one band that an encoder on a device has",
                   "use the CPU's"};
    if (static_cast<double>(told.frame.frame_bytes) > kLarge * static_cast<double>(tensor.bytes())) {
      PINION_TRY(const DeviceFidelityFrame exact, encode_exactly(tensor, on));
      if (exact.frame.bytes <= told.frame.frame_bytes) return exact;
    }
    state_.take_next({told.frame.checksum, static_cast<double>(told.step), static_cast<int>(told.mean_shift)},
                     references);
    planned_factor_ = std::clamp(told.step / told.planned, 0.25f, 4.0f);
    if (told.active > 0) {
      constexpr double kMost = kMostCorrection;
      goal_factor_ = static_cast<float>(std::clamp(goal_factor * told.goal_ratio, 1 / kMost, kMost));
    }
    frame_bytes_ = told.frame.frame_bytes;
    return DeviceFidelityFrame{.frame = {frame_.data(), frame_bytes_, references == 0},
                               .is_exact = false,
                               .snr_db = told.snr_db,
                               .step = static_cast<double>(told.step),
                               .band_loss = loss};
  }

  Result<DeviceFidelityFrame> encode_exactly(const TensorView& tensor, cudaStream_t on) {
    if (exact_ == nullptr) {
      PINION_TRY(exact_, DeviceEncoder::create(Mode::kLossless, limits_,
                                               {.device = options_.device, .predicts = false}));
    }
    PINION_TRY(const DeviceFrame frame, exact_->encode(tensor, on));
    return DeviceFidelityFrame{
        .frame = frame, .is_exact = true, .snr_db = std::numeric_limits<double>::infinity()};
  }

  double target_snr_db_;
  DecodeLimits limits_;
  DeviceFidelityOptions options_;
  cuda::ProductDevice device_;
  cuda::DeviceMemory table_memory_, workspace_, centred_, frame_;
  cuda::PinnedMemory pinned_, pinned_frame_;
  cuda::IndexTablesOnDevice coding_;
  cuda::ChecksumTables crc_;
  cuda::SideStream beside_;
  std::optional<cuda::RecordedGraphs> graphs_;  // of the shape
  cuda::BasisAnalysis analysis_;
  cuda::FidelityStateOnDevice state_;
  cuda::FidelityEncodeJob job_;           // with the workspace's places
  std::unique_ptr<DeviceEncoder> exact_;  // null until it is needed
  std::size_t rows_ = 0, channels_ = 0;   // that there is room for
  std::size_t cleared_bytes_ = 0, frame_bytes_ = 0;
  // Of the last frame: from the planned step to the one that met the target, and FidelityStep::goal_factor.
  float planned_factor_ = 1, goal_factor_ = 1;
};

}  // namespace

Result<std::unique_ptr<DeviceFidelityEncoder>> DeviceFidelityEncoder::create(
    double target_snr_db, const DecodeLimits& limits, const DeviceFidelityOptions& options) {
  PINION_TRY_VOID(cuda::check_device(options.device, limits));
  if (!(target_snr_db > 0 && target_snr_db <= kMostTargetDb))
    return Error{Errc::kInvalidArgument, "the fidelity target must be more than 0 and at most 100 dB", ""};
  auto encoder = std::make_unique<GraphFidelityEncoder>(target_snr_db, limits, options);
  PINION_TRY_VOID(encoder->prepare());
  return std::unique_ptr<DeviceFidelityEncoder>(std::move(encoder));
}

}  // namespace pinion::codec
