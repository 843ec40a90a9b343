#include <algorithm>
#include <cstring>

#include "pinion/codec/bounded/bounded_format.h"
#include "pinion/codec/cuda/device_codec.h"
#include "pinion/codec/cuda/device_session.h"
#include "pinion/codec/cuda/fidelity_on_device.h"
#include "pinion/codec/cuda/outcome_on_host.h"
#include "pinion/codec/groups/group_codec.h"
#include "pinion/codec/lossless/byte_planes.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kUsualChunk = 1 << 13;
constexpr std::size_t kPartAlignment = 16;

class StreamingDeviceDecoder : public DeviceDecoder {
 public:
  StreamingDeviceDecoder(const DecodeLimits& limits, const DeviceDecoderOptions& options)
      : limits_(limits), options_(options) {}

  Result<void> prepare() {
    const cuda::DeviceScope scope(options_.device);
    PINION_TRY_VOID(checksum_.make());
    int shared_bytes = 0;
    PINION_TRY_VOID(cuda::check(
        cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, options_.device),
        "cannot ask for the device's shared memory"));
    int multiprocessors = 0;
    PINION_TRY_VOID(
        cuda::check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, options_.device),
                    "cannot ask for the device's size"));
    // What a block needs for itself and the system stays free.
    room_ = {static_cast<std::size_t>(shared_bytes) - 1024, static_cast<std::uint32_t>(multiprocessors)};
    PINION_TRY_VOID(
        cuda::check(cuda::allow_shared_memory(room_.most_shared_bytes), "cannot use shared memory"));
    PINION_TRY_VOID(frame_.reserve(limits_.max_tensor_bytes + cuda::kFrameSlack));
    cuda::Parts measured(nullptr);
    place(measured);
    PINION_TRY_VOID(workspace_.reserve(measured.used()));
    cuda::Parts parts(workspace_.data());
    place(parts);
    PINION_TRY_VOID(
        cuda::check(cudaMemset(job_.outcome, 0, sizeof(cuda::DecodeOutcome)), "cannot clear memory"));
    PINION_TRY_VOID(outcome_.make());
    job_.outcome_on_host = outcome_.place();
    const std::size_t chunks = limits_.max_tensor_bytes / kUsualChunk + cuda::kPlanes;
    PINION_TRY_VOID(reserve_parts(chunks, (cuda::kPlanes + 2) * (limits_.max_channels + cuda::kChannelRing)));
    if (options_.keeps_last) return last_.reserve(limits_.max_tensor_bytes);
    return {};
  }

  Result<TensorView> decode(ByteSpan bytes, std::span<std::byte> out, void* stream,
                            const std::byte* on_device) override {
    const cuda::DeviceScope scope(options_.device);
    auto* const on = static_cast<cudaStream_t>(stream);
    PINION_TRY(const ParsedFrame frame, parse_frame(bytes, limits_, {.calibrated = false, .mapped = false}));
    const FrameHeader& header = frame.header;
    const TensorView tensor{out.data(), header.dtype, header.shape,
                            Device{Device::Kind::kCuda, options_.device}};
    if (tensor.bytes() > out.size())
      return Error{Errc::kTooLarge,
                   "the tensor " + to_string(header.shape) + " does not fit where it is to go", ""};
    PINION_ASSERT(reinterpret_cast<std::uintptr_t>(out.data()) % 16 == 0);
    if (header.shape.elements() == 0) {
      PINION_TRY_VOID(verify_checksum(bytes));
      return tensor;
    }
    switch (header.mode) {
      case Mode::kRaw:
        PINION_TRY_VOID(decode_raw(frame, bytes, tensor, out.data(), on, on_device));
        break;
      case Mode::kLossless:
      case Mode::kBounded:
        PINION_TRY_VOID(decode_planes(frame, bytes, out.data(), on, on_device));
        break;
      case Mode::kFidelity:
        PINION_TRY_VOID(decode_fidelity(frame, bytes, out.data(), on, on_device));
        break;
      case Mode::kInt8:
      case Mode::kInt4:
        PINION_TRY_VOID(decode_as_groups(frame, bytes, out.data(), on, on_device));
        break;
      default:
        return Error{Errc::kUnsupported, "no decoder on a device for mode " + std::string(name(header.mode)),
                     "use the CPU's"};
    }
    return tensor;
  }

  Result<void> add_basis(ByteSpan basis, const BasisLimits& limits) override {
    const cuda::DeviceScope scope(options_.device);
    return fidelity_.add_basis(basis, limits);
  }

  std::size_t scratch_bytes() const override {
    return workspace_.bytes() + parts_.bytes() + fidelity_.bytes();
  }

 private:
  // Sizes for the largest tensor that the limits allow.
  void place(cuda::Parts& parts) {
    constexpr std::size_t kTables = cuda::kPlanes * cuda::kClasses;
    const std::size_t bytes = limits_.max_tensor_bytes, elements = bytes / 2;  // of mode 3
    job_.outcome = parts.take<cuda::DecodeOutcome>(1);
    job_.slot_symbols = parts.take<std::uint8_t>(kTables * cuda::kSlots);
    job_.symbol_ranges = parts.take<std::uint32_t>(kTables * cuda::kSymbols);
    job_.decoded = parts.take<std::uint8_t>(bytes);
    job_.escape_masks = parts.take<std::uint32_t>(elements / cuda::kWarp + 1);
    job_.escapes_of_group = parts.take<std::uint32_t>(elements / cuda::kEscapeGroup + 1);
  }

  // Room for what the host says of a frame's planes: so many chunks of all planes, and bytes of class maps.
  Result<void> reserve_parts(std::size_t chunks, std::size_t map_bytes) {
    const std::size_t bytes = 2 * cuda::kPlanes * cuda::kClasses * cuda::kSymbols +
                              chunks * (sizeof(std::uint64_t) + sizeof(std::uint32_t)) + map_bytes + 1024;
    PINION_TRY_VOID(parts_.reserve(bytes));
    return pinned_parts_.reserve(bytes);
  }

  // Where the frame lies in device memory.
  Result<const std::byte*> send(ByteSpan bytes, cudaStream_t on, const std::byte* on_device) {
    if (on_device != nullptr) return on_device;
    PINION_TRY_VOID(frame_.reserve(bytes.size()));
    PINION_TRY_VOID(
        cuda::check(cudaMemcpyAsync(frame_.data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice, on),
                    "cannot send the frame"));
    return static_cast<const std::byte*>(frame_.data());
  }

  // Goes on while the host reads the frame's tables.
  void begin_verification(const std::byte* frame, std::size_t frame_bytes, cudaStream_t on) {
    cuda::launch_verification(checksum_.tables(), frame, frame_bytes, job_.outcome, nullptr, on);
  }
  // Behind all else.
  Result<void> end_with_verification(const std::byte* frame, std::size_t frame_bytes, cudaStream_t on) {
    cuda::launch_verification(checksum_.tables(), frame, frame_bytes, job_.outcome, outcome_.place(), on);
    return finish(on);
  }

  // Waits for what the last kernel tells: whether the frame was good.
  Result<void> finish(cudaStream_t on) {
    PINION_TRY_VOID(outcome_.wait(on, "decoding failed"));
    return verdict(*outcome_);
  }

  static Result<void> verdict(const cuda::DecodeOutcome& outcome) {
    if (outcome.wrong_checksum != 0)
      return Error{Errc::kBadFormat, "coded frame is damaged: its checksum does not match", "send it again"};
    if (outcome.broken != 0) return Error{Errc::kBadFormat, "coded frame does not hold what it should", ""};
    return {};
  }

  // The host found `error` in the frame, which counts only if its checksum is right. Nothing that was begun
  // goes on.
  Error refuse(Error error, cudaStream_t on) {
    cuda::DecodeOutcome outcome{};
    cudaError_t failed = cudaMemcpyAsync(&outcome, job_.outcome, sizeof(outcome), cudaMemcpyDeviceToHost, on);
    const cudaError_t later = cudaStreamSynchronize(on);
    if (failed == cudaSuccess) failed = later;
    if (auto read = cuda::check(failed, "decoding failed"); !read.ok()) return std::move(read).error();
    auto good = verdict(outcome);
    return good.ok() ? std::move(error) : std::move(good).error();
  }

  Result<void> decode_raw(const ParsedFrame& frame, ByteSpan bytes, const TensorView& tensor, std::byte* out,
                          cudaStream_t on, const std::byte* on_device) {
    if (frame.body.size() != tensor.bytes())
      return Error{Errc::kBadFormat, "raw frame of another size than its tensor's", ""};
    PINION_TRY(const std::byte* const sent, send(bytes, on, on_device));
    const auto body_at = static_cast<std::size_t>(frame.body.data() - bytes.data());
    PINION_TRY_VOID(
        cuda::check(cudaMemcpyAsync(out, sent + body_at, frame.body.size(), cudaMemcpyDeviceToDevice, on),
                    "cannot copy the tensor"));
    return end_with_verification(sent, bytes.size(), on);
  }

  Result<void> decode_as_groups(const ParsedFrame& frame, ByteSpan bytes, std::byte* out, cudaStream_t on,
                                const std::byte* on_device) {
    const FrameHeader& header = frame.header;
    if (frame.body.size() != group_body_bytes(header.mode, header.shape))
      return Error{Errc::kBadFormat, "frame of groups of another size than its tensor's", ""};
    const auto body_at = static_cast<std::size_t>(frame.body.data() - bytes.data());
    PINION_TRY(const std::byte* const sent, send(bytes, on, on_device));
    cuda::GroupJob groups;
    groups.from = sent + body_at;
    groups.to = out;
    groups.rows = static_cast<std::uint64_t>(rows_of(header.shape));
    groups.channels = static_cast<std::uint32_t>(channels_of(header.shape));
    groups.groups = (groups.channels + 31) / 32;
    groups.dtype = static_cast<std::uint8_t>(header.dtype);
    groups.is_int4 = header.mode == Mode::kInt4;
    groups.flag = &job_.outcome->broken;
    cuda::launch_group_decoding(groups, on);
    return end_with_verification(sent, bytes.size(), on);
  }

  // The elements that the frame refers to; null if it refers to none.
  static Result<const std::byte*> before(const cuda::LastOnDevice& last, const ParsedFrame& frame,
                                         ByteSpan bytes) {
    if (!frame.header.previous) return nullptr;
    if (!last.checksum() || *last.checksum() != *frame.header.previous) {
      PINION_TRY_VOID(verify_checksum(bytes));  // a damaged frame may ask for anything
      return previous_frame_not_here();
    }
    if (!last.matches(frame.header.dtype, frame.header.shape))
      return Error{Errc::kBadFormat, "coded frame predicts from one of another type or size", ""};
    return last.elements();
  }

  // Writes what kernels need of the parsed section, and of the steps of mode 3.
  Result<void> write_parts(const PlaneSection& section, const std::vector<std::uint16_t>& steps,
                           const std::byte* frame, cuda::DecodeJob& job) {
    std::size_t chunks = 0, map_bytes = 0;
    for (const CodedPlane& plane : section.planes) {
      chunks += plane.chunks.size();
      map_bytes += plane.coding.class_of.size() + cuda::kChannelRing;
    }
    const std::size_t ring = steps.size() > 1 ? steps.size() + cuda::kChannelRing : 0;
    PINION_TRY_VOID(reserve_parts(chunks, map_bytes + 2 * ring));
    std::byte* const host = pinned_parts_.data();
    auto* const places = reinterpret_cast<std::uint64_t*>(host);
    auto* const sizes = reinterpret_cast<std::uint32_t*>(places + chunks);
    auto* const step_ring = reinterpret_cast<std::uint16_t*>(sizes + chunks);
    auto* const maps = reinterpret_cast<std::uint8_t*>(step_ring + ring);
    std::size_t chunk = 0, map_at = 0;
    for (std::size_t i = 0; i < ring; ++i)
      step_ring[i] = i < steps.size() ? steps[i] : step_ring[i - steps.size()];
    for (std::size_t p = 0; p < section.planes.size(); ++p) {
      const CodedPlane& plane = section.planes[p];
      cuda::DecodePlane& to = job.planes[p];
      to = {static_cast<cuda::PlaneTreatment>(plane.coding.kind),
            plane.coding.constant,
            static_cast<std::uint32_t>(plane.coding.tables.size()),
            plane.coding.is_coded(),
            0,
            chunk,
            map_at};
      if (plane.coding.kind == PlaneKind::kRaw)
        to.raw_at = static_cast<std::uint64_t>(plane.raw.data() - frame);
      for (const ByteSpan bytes : plane.chunks) {
        places[chunk] = static_cast<std::uint64_t>(bytes.data() - frame);
        sizes[chunk++] = static_cast<std::uint32_t>(bytes.size());
      }
      std::copy(plane.coding.class_of.begin(), plane.coding.class_of.end(), maps + map_at);
      map_at += plane.coding.class_of.size();
      if (plane.coding.kind != PlaneKind::kByChannel || plane.coding.class_of.empty()) continue;
      const std::uint8_t* const first = maps + to.map_at;
      for (std::size_t i = 0; i < cuda::kChannelRing; ++i) maps[map_at++] = first[i];
    }
    const auto used = static_cast<std::size_t>(reinterpret_cast<std::byte*>(maps + map_at) - host);
    job.part_bytes = (used + kPartAlignment - 1) / kPartAlignment * kPartAlignment;
    auto* const frequencies = reinterpret_cast<std::uint16_t*>(host + job.part_bytes);
    for (std::size_t p = 0; p < section.planes.size(); ++p) {
      const auto& tables = section.planes[p].coding.tables;
      for (std::size_t k = 0; k < tables.size(); ++k) {
        std::memcpy(frequencies + (p * cuda::kClasses + k) * cuda::kSymbols, tables[k].data(),
                    2 * cuda::kSymbols);
      }
    }
    const std::byte* const device = parts_.data();
    const auto moved = [&](const auto* part) {
      return reinterpret_cast<decltype(part)>(device + (reinterpret_cast<const std::byte*>(part) - host));
    };
    job.parts = parts_.data();
    job.parts_on_host = host;
    job.frequencies_on_host = frequencies;
    job.places = moved(static_cast<const std::uint64_t*>(places));
    job.sizes = moved(static_cast<const std::uint32_t*>(sizes));
    job.maps = moved(static_cast<const std::uint8_t*>(maps));
    job.bounded.steps = ring == 0 ? nullptr : moved(static_cast<const std::uint16_t*>(step_ring));
    return {};
  }

  // Reads what stands before the planes of a frame of mode 3; returns the planes.
  static Result<ByteSpan> read_bounded(const ParsedFrame& frame, const std::byte* begin, cuda::DecodeJob& job,
                                       std::vector<std::uint16_t>& steps) {
    PINION_TRY(BoundedBody body, parse_bounded(frame.header, frame.body));
    job.bounded.number_bytes = static_cast<std::uint32_t>(body.number_bytes);
    job.bounded.step = body.steps.front();
    job.bounded.escapes = body.escapes.size() / job.elements.width;
    job.bounded.escapes_at = static_cast<std::uint64_t>(body.escapes.data() - begin);
    job.escape_groups = job.bounded.escapes == 0 ? 0 : (job.elements.count - 1) / cuda::kEscapeGroup + 1;
    steps = std::move(body.steps);
    return body.planes;
  }

  Result<void> read_planes(const ParsedFrame& frame, ByteSpan bytes, cuda::DecodeJob& job) {
    const FrameHeader& header = frame.header;
    ByteSpan planes = frame.body;
    std::vector<std::uint16_t> steps;
    if (job.is_bounded) {
      PINION_TRY(planes, read_bounded(frame, bytes.data(), job, steps));
    }
    PINION_TRY(const PlaneSection section,
               parse_planes({.planes = job.is_bounded ? job.bounded.number_bytes : job.elements.width,
                             .elements = header.shape.elements(),
                             .channels = channels_of(header.shape),
                             .has_contexts = !job.is_bounded && job.is_predicted},
                            planes));
    job.lanes = static_cast<std::uint32_t>(section.lanes);
    job.chunk_elements = std::min(static_cast<std::uint64_t>(section.chunk_elements), job.elements.count);
    job.chunks = (job.elements.count - 1) / job.chunk_elements + 1;
    return write_parts(section, steps, bytes.data(), job);
  }

  // Modes 1 and 3.
  Result<void> decode_planes(const ParsedFrame& frame, ByteSpan bytes, std::byte* out, cudaStream_t on,
                             const std::byte* on_device) {
    const FrameHeader& header = frame.header;
    const bool is_bounded = header.mode == Mode::kBounded;
    cuda::LastOnDevice& last = is_bounded ? last_bounded_ : last_;
    PINION_TRY(const std::byte* const previous, before(last, frame, bytes));
    // The copy of the frame goes on while the host reads its tables.
    PINION_TRY(const std::byte* const sent, send(bytes, on, on_device));
    begin_verification(sent, bytes.size(), on);
    cuda::DecodeJob job = job_;
    job.elements = cuda::elements_of(header.dtype, header.shape);
    job.elements.before = previous;
    job.is_predicted = previous != nullptr;
    job.is_bounded = is_bounded;
    job.dtype = static_cast<std::uint8_t>(header.dtype);
    job.frame = sent;
    job.out = out;
    if (auto read = read_planes(frame, bytes, job); !read.ok()) return refuse(std::move(read).error(), on);
    if (job.is_predicted) PINION_TRY_VOID(last.wait(on));
    cuda::launch_decoding(job, room_, on);
    PINION_TRY_VOID(finish(on));
    if (!options_.keeps_last) return {};
    PINION_TRY_VOID(last.reserve(limits_.max_tensor_bytes));  // of mode 3 with its first frame
    return last.keep(out, header.dtype, header.shape, frame.checksum, on);
  }

  Result<void> decode_fidelity(const ParsedFrame& frame, ByteSpan bytes, std::byte* out, cudaStream_t on,
                               const std::byte* on_device) {
    PINION_TRY(const std::byte* const sent, send(bytes, on, on_device));
    begin_verification(sent, bytes.size(), on);
    auto started = fidelity_.start(frame, bytes, {sent, out, job_.outcome, outcome_.place(), on}, room_);
    if (!started.ok()) return refuse(std::move(started).error(), on);
    PINION_TRY_VOID(finish(on));
    fidelity_.commit();
    return {};
  }

  DecodeLimits limits_;
  DeviceDecoderOptions options_;
  cuda::DeviceRoom room_;
  cuda::ChecksumTables checksum_;
  cuda::DeviceMemory frame_, workspace_, parts_;
  cuda::PinnedMemory pinned_parts_;
  cuda::OutcomeOnHost<cuda::DecodeOutcome> outcome_;
  cuda::LastOnDevice last_, last_bounded_;  // of modes 1 and 3
  cuda::FidelityOnDevice fidelity_;
  cuda::DecodeJob job_;  // with the workspace's places
};

}  // namespace

Result<std::unique_ptr<DeviceDecoder>> DeviceDecoder::create(const DecodeLimits& limits,
                                                             const DeviceDecoderOptions& options) {
  PINION_TRY_VOID(cuda::check_device(options.device, limits));
  auto decoder = std::make_unique<StreamingDeviceDecoder>(limits, options);
  PINION_TRY_VOID(decoder->prepare());
  return std::unique_ptr<DeviceDecoder>(std::move(decoder));
}

}  // namespace pinion::codec
