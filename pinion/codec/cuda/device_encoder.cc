#include <algorithm>
#include <cmath>
#include <cstring>

#include "pinion/codec/bounded/bounded_arithmetic.h"
#include "pinion/codec/cuda/device_codec.h"
#include "pinion/codec/cuda/device_session.h"
#include "pinion/codec/cuda/outcome_on_host.h"
#include "pinion/codec/cuda/recorded_graph.h"
#include "pinion/codec/groups/group_codec.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kBodyAlignment = 16;  // of groups

bool is_group_mode(Mode mode) { return mode == Mode::kInt8 || mode == Mode::kInt4; }

class StreamingDeviceEncoder : public DeviceEncoder {
 public:
  StreamingDeviceEncoder(Mode mode, const DecodeLimits& limits, const DeviceEncoderOptions& options)
      : mode_(mode), limits_(limits), options_(options) {}

  Result<void> prepare() {
    const cuda::DeviceScope scope(options_.device);
    PINION_TRY_VOID(checksum_.make());
    PINION_TRY_VOID(graphs_.make());
    cuda::Parts measured(nullptr);
    place(measured);
    PINION_TRY_VOID(workspace_.reserve(measured.used()));
    cuda::Parts parts(workspace_.data());
    place(parts);
    PINION_TRY_VOID(frame_.reserve(limits_.max_tensor_bytes + cuda::kFrameSlack));
    job_.frame = frame_.data();
    job_.crc = checksum_.tables();
    PINION_TRY_VOID(to_device_.reserve(sizeof(cuda::EncodeOutcome) + cuda::kFrameSlack));
    PINION_TRY_VOID(outcome_.make());
    job_.outcome_on_host = outcome_.place();
    int multiprocessors = 0;
    PINION_TRY_VOID(
        cuda::check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, options_.device),
                    "cannot ask for the device's size"));
    job_.multiprocessors = static_cast<std::uint32_t>(multiprocessors);
    PINION_TRY_VOID(cuda::check(cudaMemset(workspace_.data(), 0, first_bytes_), "cannot clear memory"));
    if (!is_group_mode(mode_) && options_.predicts) return last_.reserve(limits_.max_tensor_bytes);
    return {};
  }

  Result<DeviceFrame> encode(const TensorView& tensor, void* stream) override {
    const cuda::DeviceScope scope(options_.device);
    PINION_TRY_VOID(check_tensor(tensor));
    frame_bytes_ = 0;
    auto* const on = static_cast<cudaStream_t>(stream);
    if (tensor.elements() == 0) return encode_empty(tensor, on);
    if (is_group_mode(mode_)) return encode_as_groups(tensor, on);
    return mode_ == Mode::kBounded ? encode_bounded(tensor, on) : encode_lossless(tensor, on);
  }

  Result<ByteSpan> copy_to_host(void* stream) override {
    const cuda::DeviceScope scope(options_.device);
    auto* const on = static_cast<cudaStream_t>(stream);
    PINION_TRY_VOID(
        pinned_frame_.reserve(std::max(frame_bytes_, std::min(frame_.bytes(), limits_.max_tensor_bytes))));
    PINION_TRY_VOID(cuda::check(cudaMemcpyAsync(pinned_frame_.data(), frame_.data() + frame_begin_,
                                                frame_bytes_, cudaMemcpyDeviceToHost, on),
                                "cannot copy the frame"));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "cannot copy the frame"));
    return ByteSpan(pinned_frame_.data(), frame_bytes_);
  }

  void restart() override { last_.forget(); }

  std::size_t scratch_bytes() const override { return workspace_.bytes(); }

 private:
  // Sizes of the largest tensor that the limits allow, whatever its element type and channels.
  void place(cuda::Parts& parts) {
    job_.kept = parts.take<cuda::KeptByEncoder>(1);
    job_.samples = parts.take<cuda::SampleCounts>(1);
    first_bytes_ = parts.used();
    job_.outcome = parts.take<cuda::EncodeOutcome>(1);
    if (is_group_mode(mode_)) return;
    const std::size_t bytes = limits_.max_tensor_bytes, channels = limits_.max_channels;
    const std::size_t chunks = bytes / cuda::kEncodedChunk + cuda::kPlanes;  // planes times chunks
    constexpr std::size_t kTableWords =
        cuda::kFinest * cuda::kSymbols * 25 / 32 + 2;  // 25 bits a symbol at most
    job_.map_words = static_cast<std::uint32_t>(channels / 8 + kTableWords + 256);
    job_.counts = parts.take<std::uint32_t>(cuda::kPlanes * cuda::kFinest * cuda::kSymbols);
    job_.headers = parts.take<std::uint32_t>(cuda::kPlanes * std::size_t{job_.map_words});
    job_.group_sums = parts.take<std::uint64_t>(chunks / cuda::kGroupChunks + std::size_t{2} * cuda::kPlanes);
    const bool is_bounded = mode_ == Mode::kBounded;
    if (is_bounded) {
      job_.bounded.escapes_of_group = parts.take<std::uint32_t>(chunks / cuda::kGroupChunks + cuda::kPlanes);
    }
    job_.cleared_bytes = parts.used() - first_bytes_;
    job_.sums = parts.take<std::uint32_t>(cuda::kPlanes * channels);
    job_.class_of_channel = parts.take<std::uint8_t>(cuda::kPlanes * (channels + cuda::kChannelRing));
    job_.class_of_context = parts.take<std::uint8_t>(cuda::kSymbols);
    job_.plans = parts.take<cuda::PlanePlan>(cuda::kPlanes);
    job_.tables = parts.take<uint2>(cuda::kPlanes * cuda::kFinest * cuda::kSymbols);
    job_.slots = parts.take<std::byte>(chunks * cuda::kSlotBytes);
    job_.sizes = parts.take<std::uint32_t>(chunks);
    if (is_bounded) place_bounded(parts, chunks);
  }

  void place_bounded(cuda::Parts& parts, std::size_t chunks) {
    const std::size_t elements = limits_.max_tensor_bytes / 2, channels = limits_.max_channels;
    cuda::BoundedCoding& bounded = job_.bounded;
    job_.numbers = parts.take<std::byte>(2 * elements);
    bounded.escape_masks = parts.take<std::uint8_t>(elements / 8 + 1);
    bounded.escapes_of_chunk = parts.take<std::uint32_t>(chunks);
    bounded.per_channel = options_.bound_is_relative;
    bounded.size = options_.error_bound;
    bounded.one_in_frame = step_within(options_.error_bound);
    const float step = step_value(bounded.one_in_frame);
    bounded.one = {step, float_not_above(options_.error_bound), 1 / step};
    if (!options_.bound_is_relative) return;
    const std::size_t sums = std::max<std::size_t>(channels, cuda::kRowPartEntries);
    bounded.steps = parts.take<cuda::BoundedStep>(channels);
    bounded.step_bits = parts.take<std::uint16_t>(channels);
    bounded.squares = parts.take<double>(sums);
    bounded.finite = parts.take<std::uint32_t>(sums);
  }

  Result<void> check_tensor(const TensorView& tensor) const {
    if (tensor.device != Device{Device::Kind::kCuda, options_.device}) {
      return Error{Errc::kInvalidArgument,
                   "the tensor is on " + pinion::name(tensor.device) + ", not on the encoder's device",
                   "copy it there"};
    }
    const bool narrow = tensor.dtype == DType::kF8E4M3 || tensor.dtype == DType::kF8E5M2;
    const bool wide =
        tensor.dtype == DType::kF32 || tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16;
    if (!wide && !(narrow && mode_ == Mode::kLossless)) {
      return Error{Errc::kUnsupported,
                   std::string(pinion::name(tensor.dtype)) + " tensors cannot be coded as " +
                       std::string(name(mode_)) + " on a device",
                   "send them raw"};
    }
    if (tensor.bytes() > limits_.max_tensor_bytes ||
        static_cast<std::size_t>(channels_of(tensor.shape)) > limits_.max_channels)
      return Error{Errc::kTooLarge, "the tensor " + to_string(tensor.shape) + " passes the encoder's limits",
                   ""};
    return {};
  }

  // Puts bytes at `begin` of the frame's buffer, and says how long the frame is to be.
  Result<void> begin_frame(const Bytes& head, std::size_t begin, std::size_t frame_bytes, cudaStream_t on) {
    PINION_ASSERT(head.size() <= cuda::kFrameSlack);
    cuda::EncodeOutcome first{};
    first.begin = begin;
    first.frame_bytes = frame_bytes;
    std::memcpy(to_device_.data(), &first, sizeof(first));
    std::memcpy(to_device_.data() + sizeof(first), head.data(), head.size());
    PINION_TRY_VOID(cuda::check(
        cudaMemcpyAsync(job_.outcome, to_device_.data(), sizeof(first), cudaMemcpyHostToDevice, on),
        "cannot begin a frame"));
    return cuda::check(cudaMemcpyAsync(job_.frame + begin, to_device_.data() + sizeof(first), head.size(),
                                       cudaMemcpyHostToDevice, on),
                       "cannot begin a frame");
  }

  DeviceFrame take_frame() {
    frame_begin_ = outcome_->begin;
    frame_bytes_ = outcome_->frame_bytes;
    return {frame_.data() + frame_begin_, frame_bytes_, outcome_->refers == 0 || outcome_->is_raw != 0};
  }

  Result<DeviceFrame> encode_empty(const TensorView& tensor, cudaStream_t on) {
    const Bytes frame =
        write_frame({Mode::kLossless, tensor.dtype, tensor.shape, std::nullopt, std::nullopt}, {});
    PINION_TRY_VOID(begin_frame(frame, 0, frame.size(), on));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "encoding failed"));
    frame_begin_ = 0;
    frame_bytes_ = frame.size();
    return DeviceFrame{frame_.data(), frame_bytes_, true};
  }

  // Begins a frame whose body is that long, aligned; returns where the body lies.
  Result<std::byte*> begin_body(Mode mode, const TensorView& tensor, std::size_t body_bytes,
                                cudaStream_t on) {
    const Bytes head =
        write_frame_header({mode, tensor.dtype, tensor.shape, std::nullopt, std::nullopt}, body_bytes);
    const std::size_t begin = (kBodyAlignment - head.size() % kBodyAlignment) % kBodyAlignment;
    PINION_TRY_VOID(begin_frame(head, begin, head.size() + body_bytes + kChecksumBytes, on));
    return job_.frame + begin + head.size();
  }

  Result<DeviceFrame> finish_body(std::size_t body_bytes, cudaStream_t on) {
    cuda::launch_checksum(job_, body_bytes + cuda::kFrameSlack, on);
    PINION_TRY_VOID(outcome_.wait(on, "encoding failed"));
    return take_frame();
  }

  Result<DeviceFrame> encode_raw(const TensorView& tensor, cudaStream_t on) {
    PINION_TRY(std::byte* const body, begin_body(Mode::kRaw, tensor, tensor.bytes(), on));
    PINION_TRY_VOID(
        cuda::check(cudaMemcpyAsync(body, tensor.data, tensor.bytes(), cudaMemcpyDeviceToDevice, on),
                    "cannot copy the tensor"));
    return finish_body(tensor.bytes(), on);
  }

  Result<DeviceFrame> encode_as_groups(const TensorView& tensor, cudaStream_t on) {
    const std::size_t body_bytes = group_body_bytes(mode_, tensor.shape);
    // Short rows have more scales than they are worth.
    if (body_bytes >= tensor.bytes()) return encode_raw(tensor, on);
    PINION_TRY(std::byte* const body, begin_body(mode_, tensor, body_bytes, on));
    cuda::GroupJob groups;
    groups.from = tensor.data;
    groups.to = body;
    groups.rows = static_cast<std::uint64_t>(rows_of(tensor.shape));
    groups.channels = static_cast<std::uint32_t>(channels_of(tensor.shape));
    groups.groups = (groups.channels + 31) / 32;
    groups.dtype = static_cast<std::uint8_t>(tensor.dtype);
    groups.is_int4 = mode_ == Mode::kInt4;
    groups.flag = &job_.outcome->not_finite;
    cuda::launch_group_encoding(groups, on);
    PINION_TRY(const DeviceFrame frame, finish_body(body_bytes, on));
    if (outcome_->not_finite != 0) {
      frame_bytes_ = 0;
      return Error{Errc::kInvalidArgument,
                   "the tensor holds NaN or infinity, which " + std::string(name(mode_)) + " cannot code",
                   "use lossless or bounded for it"};
    }
    return frame;
  }

  // Of planes of `width` bytes an element, whatever they are made of.
  cuda::EncodeJob job_for(Mode mode, const TensorView& tensor, std::uint32_t width) const {
    cuda::EncodeJob job = job_;
    job.elements = cuda::elements_of(tensor.dtype, tensor.shape);
    job.tensor = tensor.data;
    job.tensor_width = job.elements.width;
    job.elements.width = width;
    job.mode = static_cast<std::uint8_t>(mode);
    job.chunks = static_cast<std::uint32_t>((job.elements.count - 1) / cuda::kEncodedChunk + 1);
    job.dtype = static_cast<std::uint8_t>(tensor.dtype);
    // Rank and extents are as in any frame of that shape.
    const Bytes head = write_frame_header({mode, tensor.dtype, tensor.shape, std::nullopt, std::nullopt}, 0);
    constexpr std::size_t kBeforeShape = 8;
    job.shape_bytes = static_cast<std::uint32_t>(head.size() - kBeforeShape - 1);
    PINION_ASSERT(job.shape_bytes <= sizeof(job.shape));
    std::memcpy(job.shape, head.data() + kBeforeShape, job.shape_bytes);
    return job;
  }

  static Result<void> put_work(const cuda::EncodeJob& job, cudaStream_t on) {
    if (static_cast<Mode>(job.mode) == Mode::kBounded) cuda::launch_numbers(job, on);
    cuda::launch_statistics(job, on);
    cuda::launch_choices(job, on);
    cuda::launch_encoding(job, on);
    cuda::launch_assembly(job, on);
    cuda::launch_checksum(job, job.elements.count * job.tensor_width + cuda::kFrameSlack, on);
    return cuda::check(cudaGetLastError(), "cannot start kernels");
  }

  // All that differs between the jobs of one encoder.
  static cuda::RecordedGraphs::Form form_of(const cuda::EncodeJob& job) {
    const auto number = [](const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); };
    cuda::RecordedGraphs::Form form{job.mode,
                                    job.dtype,
                                    job.elements.width,
                                    job.bounded.may_refer,
                                    number(job.tensor),
                                    number(job.elements.before),
                                    number(job.bounded.state)};
    form.insert(form.end(), job.shape, job.shape + job.shape_bytes);
    return form;
  }

  Result<void> run(const cuda::EncodeJob& job, cudaStream_t on) {
    PINION_TRY_VOID(graphs_.launch(
        form_of(job), [&job](cudaStream_t to) { return put_work(job, to); }, on));
    return outcome_.wait(on, "encoding failed");
  }

  Result<DeviceFrame> encode_lossless(const TensorView& tensor, cudaStream_t on) {
    cuda::EncodeJob job =
        job_for(Mode::kLossless, tensor, static_cast<std::uint32_t>(size_bytes(tensor.dtype)));
    job.elements.now = tensor.data;
    const bool is_of_stream = mode_ == Mode::kLossless && options_.predicts;
    if (is_of_stream && last_.matches(tensor.dtype, tensor.shape)) {
      PINION_TRY_VOID(last_.wait(on));
      job.elements.before = last_.elements();
    }
    PINION_TRY_VOID(run(job, on));
    const DeviceFrame frame = take_frame();
    if (!is_of_stream) return frame;
    if (outcome_->is_raw != 0) {
      last_.forget();  // no frame of mode 1 holds it
    } else {
      PINION_TRY_VOID(last_.keep(tensor.data, tensor.dtype, tensor.shape, outcome_->checksum, on));
    }
    return frame;
  }

  // Whether two bytes a number are better than one with more escapes.
  bool wants_wide_numbers(const TensorView& tensor) const {
    constexpr std::int64_t kFewEscapes = 512;
    return outcome_->large_numbers > tensor.elements() / kFewEscapes;
  }

  Result<DeviceFrame> encode_bounded(const TensorView& tensor, cudaStream_t on) {
    const bool may_refer = options_.predicts && last_.matches(tensor.dtype, tensor.shape);
    PINION_TRY_VOID(run_bounded(tensor, may_refer, on));
    const bool was_wide = wide_numbers_;
    wide_numbers_ = wants_wide_numbers(tensor);
    const bool stands_alone = outcome_->refers == 0 || outcome_->is_raw != 0;
    // What the frame refers to is gone already, so that only one that stands alone is made anew at once.
    if (!was_wide && wide_numbers_ && stands_alone) PINION_TRY_VOID(run_bounded(tensor, false, on));
    if (outcome_->is_raw != 0) return encode_lossless(tensor, on);  // it may do better
    const DeviceFrame frame = take_frame();
    if (options_.predicts)
      PINION_TRY_VOID(last_.keep_memory(tensor.dtype, tensor.shape, outcome_->checksum, on));
    return frame;
  }

  Result<void> run_bounded(const TensorView& tensor, bool may_refer, cudaStream_t on) {
    cuda::EncodeJob job = job_for(Mode::kBounded, tensor, wide_numbers_ ? 2 : 1);
    job.elements.key_form = NumberForm::kPlain;
    job.elements.now = job.numbers;
    job.bounded.may_refer = may_refer;
    if (options_.predicts) {
      PINION_TRY_VOID(last_.wait(on));
      job.bounded.state = last_.memory();
      last_.forget();  // until the frame is there
    }
    return run(job, on);
  }

  Mode mode_;
  DecodeLimits limits_;
  DeviceEncoderOptions options_;
  cuda::ChecksumTables checksum_;
  cuda::DeviceMemory workspace_, frame_;
  cuda::PinnedMemory to_device_, pinned_frame_;  // the one: an outcome, then a frame's header
  cuda::OutcomeOnHost<cuda::EncodeOutcome> outcome_;
  cuda::LastOnDevice last_;
  cuda::RecordedGraphs graphs_;
  cuda::EncodeJob job_;          // with the workspace's places
  std::size_t first_bytes_ = 0;  // of the workspace: 0 when the encoder is made
  bool wide_numbers_ = false;    // of mode 3, as the last frame wanted it
  std::size_t frame_begin_ = 0, frame_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<DeviceEncoder>> DeviceEncoder::create(Mode mode, const DecodeLimits& limits,
                                                             const DeviceEncoderOptions& options) {
  if (mode == Mode::kBounded && !(options.error_bound > 0 && std::isfinite(options.error_bound)))
    return Error{Errc::kInvalidArgument, "the error bound must be more than 0 and finite", ""};
  if (mode != Mode::kLossless && mode != Mode::kBounded && !is_group_mode(mode))
    return Error{Errc::kUnsupported, "no encoder on a device for mode " + std::string(name(mode)),
                 "use the CPU's"};
  PINION_TRY_VOID(cuda::check_device(options.device, limits));
  auto encoder = std::make_unique<StreamingDeviceEncoder>(mode, limits, options);
  PINION_TRY_VOID(encoder->prepare());
  return std::unique_ptr<DeviceEncoder>(std::move(encoder));
}

}  // namespace pinion::codec
