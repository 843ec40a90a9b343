#include <algorithm>
#include <cstring>

#include "pinion/codec/cuda/device_codec.h"
#include "pinion/codec/cuda/device_session.h"
#include "pinion/codec/groups/group_codec.h"
#include "pinion/codec/lossless/byte_planes.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kUsualChunk = 1 << 14;

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
    // What a block needs for itself and the system stays free.
    most_shared_bytes_ = static_cast<std::size_t>(shared_bytes) - 1024;
    PINION_TRY_VOID(cuda::check(cuda::allow_shared_memory(most_shared_bytes_), "cannot use shared memory"));
    PINION_TRY_VOID(frame_.reserve(limits_.max_tensor_bytes + cuda::kFrameSlack));
    PINION_TRY_VOID(decoded_.reserve(limits_.max_tensor_bytes));
    PINION_TRY_VOID(tables_.reserve(cuda::kPlanes * cuda::kClasses * (cuda::kSlots + 4 * cuda::kSymbols)));
    PINION_TRY_VOID(outcome_.reserve(sizeof(cuda::DecodeOutcome)));
    PINION_TRY_VOID(pinned_outcome_.reserve(sizeof(cuda::DecodeOutcome)));
    const std::size_t chunks = limits_.max_tensor_bytes / kUsualChunk + cuda::kPlanes;
    PINION_TRY_VOID(reserve_parts(chunks, cuda::kPlanes * (limits_.max_channels + cuda::kChannelRing)));
    PINION_TRY_VOID(verifying_.make());
    if (options_.keeps_last) return last_.reserve(limits_.max_tensor_bytes);
    return {};
  }

  Result<TensorView> decode(ByteSpan bytes, std::span<std::byte> out, void* stream,
                            const std::byte* on_device) override {
    const cuda::DeviceScope scope(options_.device);
    auto* const on = static_cast<cudaStream_t>(stream);
    PINION_TRY(const ParsedFrame frame, parse_frame(bytes, limits_, /*with_calibrated=*/false));
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
        PINION_TRY_VOID(decode_planes(frame, bytes, tensor, out.data(), on, on_device));
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

  std::size_t scratch_bytes() const override {
    return decoded_.bytes() + tables_.bytes() + parts_.bytes() + outcome_.bytes();
  }

 private:
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

  // Goes on beside what follows on the stream, until finish().
  Result<void> begin_verification(const std::byte* frame, std::size_t frame_bytes, cudaStream_t on) {
    PINION_TRY_VOID(cuda::check(cudaMemsetAsync(outcome_.data(), 0, sizeof(cuda::DecodeOutcome), on),
                                "cannot begin decoding"));
    PINION_TRY_VOID(verifying_.begin_behind(on));
    cuda::launch_verification(checksum_.tables(), frame, frame_bytes, outcome(), verifying_.stream());
    return {};
  }

  cuda::DecodeOutcome* outcome() const { return reinterpret_cast<cuda::DecodeOutcome*>(outcome_.data()); }

  // Waits for everything on the stream and says whether the frame was good.
  Result<void> finish(cudaStream_t on) {
    PINION_TRY_VOID(cuda::check(cudaGetLastError(), "cannot start kernels"));
    PINION_TRY_VOID(verifying_.end_before(on));
    PINION_TRY_VOID(cuda::check(cudaMemcpyAsync(pinned_outcome_.data(), outcome(),
                                                sizeof(cuda::DecodeOutcome), cudaMemcpyDeviceToHost, on),
                                "cannot read the outcome"));
    PINION_TRY_VOID(cuda::check(cudaStreamSynchronize(on), "decoding failed"));
    cuda::DecodeOutcome read;
    std::memcpy(&read, pinned_outcome_.data(), sizeof(read));
    if (read.wrong_checksum != 0)
      return Error{Errc::kBadFormat, "coded frame is damaged: its checksum does not match", "send it again"};
    if (read.broken != 0) return Error{Errc::kBadFormat, "coded frame does not hold what it should", ""};
    return {};
  }

  Result<void> decode_raw(const ParsedFrame& frame, ByteSpan bytes, const TensorView& tensor, std::byte* out,
                          cudaStream_t on, const std::byte* on_device) {
    if (frame.body.size() != tensor.bytes())
      return Error{Errc::kBadFormat, "raw frame of another size than its tensor's", ""};
    PINION_TRY(const std::byte* const sent, send(bytes, on, on_device));
    PINION_TRY_VOID(begin_verification(sent, bytes.size(), on));
    const auto body_at = static_cast<std::size_t>(frame.body.data() - bytes.data());
    PINION_TRY_VOID(
        cuda::check(cudaMemcpyAsync(out, sent + body_at, frame.body.size(), cudaMemcpyDeviceToDevice, on),
                    "cannot copy the tensor"));
    return finish(on);
  }

  Result<void> decode_as_groups(const ParsedFrame& frame, ByteSpan bytes, std::byte* out, cudaStream_t on,
                                const std::byte* on_device) {
    const FrameHeader& header = frame.header;
    if (frame.body.size() != group_body_bytes(header.mode, header.shape))
      return Error{Errc::kBadFormat, "frame of groups of another size than its tensor's", ""};
    const auto body_at = static_cast<std::size_t>(frame.body.data() - bytes.data());
    PINION_TRY(const std::byte* const sent, send(bytes, on, on_device));
    PINION_TRY_VOID(begin_verification(sent, bytes.size(), on));
    cuda::GroupJob groups;
    groups.from = sent + body_at;
    groups.to = out;
    groups.rows = static_cast<std::uint64_t>(rows_of(header.shape));
    groups.channels = static_cast<std::uint32_t>(channels_of(header.shape));
    groups.groups = (groups.channels + 31) / 32;
    groups.dtype = static_cast<std::uint8_t>(header.dtype);
    groups.is_int4 = header.mode == Mode::kInt4;
    groups.flag = &outcome()->broken;
    cuda::launch_group_decoding(groups, on);
    return finish(on);
  }

  // The elements that the frame refers to; null if it refers to none.
  Result<const std::byte*> before(const ParsedFrame& frame, ByteSpan bytes) const {
    if (!frame.header.previous) return nullptr;
    if (!last_.checksum() || *last_.checksum() != *frame.header.previous) {
      PINION_TRY_VOID(verify_checksum(bytes));  // a damaged frame may ask for anything
      return previous_frame_not_here();
    }
    if (!last_.matches(frame.header.dtype, frame.header.shape))
      return Error{Errc::kBadFormat, "coded frame predicts from one of another type or size", ""};
    return last_.elements();
  }

  // Writes what kernels need of the parsed section, and sends it.
  Result<void> send_parts(const PlaneSection& section, const std::byte* frame, cuda::DecodeJob& job,
                          cudaStream_t on) {
    std::size_t chunks = 0, map_bytes = 0;
    for (const CodedPlane& plane : section.planes) {
      chunks += plane.chunks.size();
      map_bytes += plane.coding.class_of.size() + cuda::kChannelRing;
    }
    PINION_TRY_VOID(reserve_parts(chunks, map_bytes));
    std::byte* const host = pinned_parts_.data();
    auto* const places = reinterpret_cast<std::uint64_t*>(host);
    auto* const sizes = reinterpret_cast<std::uint32_t*>(places + chunks);
    auto* const frequencies = reinterpret_cast<std::uint16_t*>(sizes + chunks);
    auto* const maps = reinterpret_cast<std::uint8_t*>(frequencies + section.planes.size() * cuda::kClasses *
                                                                         cuda::kSymbols);
    std::size_t chunk = 0, map_at = 0;
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
      for (std::size_t k = 0; k < plane.coding.tables.size(); ++k) {
        std::memcpy(frequencies + (p * cuda::kClasses + k) * cuda::kSymbols, plane.coding.tables[k].data(),
                    2 * cuda::kSymbols);
      }
      std::copy(plane.coding.class_of.begin(), plane.coding.class_of.end(), maps + map_at);
      map_at += plane.coding.class_of.size();
      if (plane.coding.kind != PlaneKind::kByChannel || plane.coding.class_of.empty()) continue;
      const std::uint8_t* const first = maps + to.map_at;
      for (std::size_t i = 0; i < cuda::kChannelRing; ++i) maps[map_at++] = first[i];
    }
    const std::byte* const device = parts_.data();
    const auto moved = [&](const auto* part) {
      return reinterpret_cast<decltype(part)>(device + (reinterpret_cast<const std::byte*>(part) - host));
    };
    job.places = moved(static_cast<const std::uint64_t*>(places));
    job.sizes = moved(static_cast<const std::uint32_t*>(sizes));
    job.frequencies = moved(static_cast<const std::uint16_t*>(frequencies));
    job.maps = moved(static_cast<const std::uint8_t*>(maps));
    const auto bytes = static_cast<std::size_t>(reinterpret_cast<std::byte*>(maps + map_at) - host);
    return cuda::check(cudaMemcpyAsync(parts_.data(), host, bytes, cudaMemcpyHostToDevice, on),
                       "cannot send the frame's tables");
  }

  Result<void> decode_planes(const ParsedFrame& frame, ByteSpan bytes, const TensorView& tensor,
                             std::byte* out, cudaStream_t on, const std::byte* on_device) {
    const FrameHeader& header = frame.header;
    PINION_TRY(const std::byte* const previous, before(frame, bytes));
    // The copy of the frame goes on while the host reads its tables.
    PINION_TRY(const std::byte* const sent, send(bytes, on, on_device));
    PINION_TRY_VOID(begin_verification(sent, bytes.size(), on));
    cuda::DecodeJob job;
    job.elements = cuda::elements_of(header.dtype, header.shape);
    job.elements.before = previous;
    job.is_predicted = previous != nullptr;
    auto parsed = parse_planes({.planes = job.elements.width,
                                .elements = tensor.elements(),
                                .channels = channels_of(header.shape),
                                .has_contexts = job.is_predicted},
                               frame.body);
    if (!parsed.ok()) {
      PINION_TRY_VOID(finish(on));  // nothing that was begun goes on
      return std::move(parsed).error();
    }
    job.lanes = static_cast<std::uint32_t>(parsed->lanes);
    job.chunk_elements = std::min(static_cast<std::uint64_t>(parsed->chunk_elements), job.elements.count);
    job.chunks = (job.elements.count - 1) / job.chunk_elements + 1;
    job.frame = sent;
    job.outcome = outcome();
    job.slot_symbols = reinterpret_cast<std::uint8_t*>(tables_.data());
    job.symbol_ranges =
        reinterpret_cast<std::uint32_t*>(tables_.data() + cuda::kPlanes * cuda::kClasses * cuda::kSlots);
    job.decoded = reinterpret_cast<std::uint8_t*>(decoded_.data());
    job.out = out;
    if (const auto ready = send_parts(*parsed, bytes.data(), job, on); !ready.ok()) {
      PINION_TRY_VOID(finish(on));
      return ready;
    }
    if (job.is_predicted) PINION_TRY_VOID(last_.wait(on));
    cuda::launch_decoding(job, most_shared_bytes_, on);
    PINION_TRY_VOID(finish(on));
    if (!options_.keeps_last) return {};
    return last_.keep(out, header.dtype, header.shape, frame.checksum, on);
  }

  DecodeLimits limits_;
  DeviceDecoderOptions options_;
  std::size_t most_shared_bytes_ = 0;
  cuda::ChecksumTables checksum_;
  cuda::DeviceMemory frame_, decoded_, tables_, parts_, outcome_;
  cuda::PinnedMemory pinned_parts_, pinned_outcome_;
  cuda::LastOnDevice last_;
  cuda::SideStream verifying_;
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
