// The frame out of its parts (docs/format.md §2, §5.2): a warp for each chunk moves the data to its place, the
// first blocks write what stands before the data.

#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/frame_fields.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kWarps = 8;
constexpr std::uint8_t kVersion = 1, kRawMode = 0, kLosslessMode = 1, kFlagPrevious = 2;

__device__ std::uint32_t plane_header_bytes(const PlanePlan& plan) {
  if (plan.treatment == PlaneTreatment::kConstant) return 2;
  return plan.is_coded ? 2 + (plan.header_bits + 7) / 8 : 1;
}

// All fields before the body; returns their size. With `to` null they are only measured.
__device__ std::uint32_t put_frame_header(const EncodeJob& job, bool raw, std::uint64_t body_bytes,
                                          std::byte* to) {
  const bool refers = !raw && job.outcome->refers != 0;
  if (to != nullptr) {
    to = put(put(put(put(put(to, 'P'), 'N'), 'F'), '1'), kVersion);
    to = put(to, raw ? kRawMode : kLosslessMode);
    to = put(to, job.dtype);
    to = put(to, refers ? kFlagPrevious : 0);
    for (std::uint32_t i = 0; i < job.shape_bytes; ++i) to = put(to, job.shape[i]);
    to = put_varint(to, body_bytes);
    for (std::uint32_t i = 0; i < 4 && refers; ++i) to = put(to, job.kept->checksum >> (8 * i));
  }
  return 8 + job.shape_bytes + varint_bytes(body_bytes) + (refers ? 4 : 0);
}

// What the layout of a frame follows from, and where a block's chunks go.
struct Layout {
  PlanePlan plans[kPlanes];
  std::uint64_t totals[kPlanes];  // both_bytes() of each plane's chunks
  std::uint64_t before;           // of those of the block's plane before its first chunk
  std::uint64_t own[kWarps];      // of the block's chunks
  std::uint64_t sums[kWarps];
};

// Sums of both_bytes() of the groups [first, end) of a plane, by a warp.
__device__ std::uint64_t sum_groups(const EncodeJob& job, std::uint32_t plane, std::uint32_t end,
                                    std::uint32_t lane) {
  const std::uint64_t* const groups = job.group_sums + std::size_t{plane} * groups_of(job);
  std::uint64_t sum = 0;
  for (std::uint32_t g = lane; g < end; g += kWarp) sum += groups[g];
  return warp_sum(sum);
}

// By a block that looks after kWarps chunks of a plane, from chunk `first` on.
__device__ void measure(const EncodeJob& job, std::uint32_t plane, std::uint32_t first, Layout& layout) {
  const std::uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, width = job.elements.width;
  static_assert(kPlanes < kWarps && kGroupChunks == kWarps * kWarp);
  if (threadIdx.x < width) layout.plans[threadIdx.x] = job.plans[threadIdx.x];
  __syncthreads();
  if (warp < width) {
    const std::uint64_t sum =
        layout.plans[warp].is_coded ? sum_groups(job, warp, groups_of(job), lane) : std::uint64_t{0};
    if (lane == 0) layout.totals[warp] = sum;
  }
  if (!layout.plans[plane].is_coded) {
    __syncthreads();
    return;
  }
  const std::uint32_t group = first / kGroupChunks, before = group * kGroupChunks + threadIdx.x;
  const std::uint32_t* const sizes = job.sizes + std::size_t{plane} * job.chunks;
  std::uint64_t in_front = before < first ? both_bytes(sizes[before]) : 0;
  if (warp == kPlanes) {
    const std::uint64_t groups = sum_groups(job, plane, group, lane);
    in_front += lane == 0 ? groups : 0;
  }
  if (threadIdx.x < kWarps)
    layout.own[threadIdx.x] = first + threadIdx.x < job.chunks ? both_bytes(sizes[first + threadIdx.x]) : 0;
  in_front = block_sum(in_front, layout.sums);
  if (threadIdx.x == 0) layout.before = in_front;
  __syncthreads();
}

// Where the parts of a frame lie.
struct Places {
  std::uint64_t body_bytes = 0;
  std::uint32_t header_bytes = 0;
  bool raw = false;
  std::uint64_t plane_header = 0, sizes = 0, data = 0;  // of the block's plane
};

__device__ std::uint64_t data_bytes(const EncodeJob& job, const Layout& layout, std::uint32_t plane) {
  if (layout.plans[plane].treatment == PlaneTreatment::kRaw) return job.elements.count;
  return layout.totals[plane] & kDataMask;
}

__device__ Places places_of(const EncodeJob& job, const Layout& layout, std::uint32_t plane) {
  const std::uint32_t width = job.elements.width;
  const std::uint64_t tensor_bytes = job.elements.count * width;
  Places places;
  std::uint64_t head = 1 + varint_bytes(kEncodedChunk), sizes = 0, data = 0;
  for (std::uint32_t p = 0; p < width; ++p) {
    if (p == plane) {
      places.plane_header = head;
      places.sizes = sizes;
      places.data = data;
    }
    head += plane_header_bytes(layout.plans[p]);
    sizes += layout.totals[p] >> kSizeShift;
    data += data_bytes(job, layout, p);
  }
  places.body_bytes = head + sizes + data;
  places.raw = places.body_bytes >= tensor_bytes;
  if (places.raw) places.body_bytes = tensor_bytes;
  places.header_bytes = put_frame_header(job, places.raw, places.body_bytes, nullptr);
  places.plane_header += places.header_bytes;
  places.sizes += places.header_bytes + head;
  places.data += places.header_bytes + head + sizes;
  return places;
}

// What stands before the data of all planes, by the first block of each plane.
__device__ void put_heads(const EncodeJob& job, const PlanePlan& plan, std::uint32_t plane,
                          const Places& places) {
  if (plane == 0 && threadIdx.x == 0) {
    put_frame_header(job, places.raw, places.body_bytes, job.frame);
    job.outcome->is_raw = places.raw;
    job.outcome->frame_bytes = places.header_bytes + places.body_bytes + 4;
    if (!places.raw) put_varint(put(job.frame + places.header_bytes, 5), kEncodedChunk);
  }
  if (places.raw) return;
  std::byte* const to = job.frame + places.plane_header;
  if (threadIdx.x == 0) {
    put(to, static_cast<std::uint32_t>(plan.treatment));
    if (plan.treatment == PlaneTreatment::kConstant) put(to + 1, plan.constant);
    if (plan.is_coded) put(to + 1, plan.classes);
  }
  if (!plan.is_coded) return;
  const auto* const bits =
      reinterpret_cast<const std::byte*>(job.headers + std::size_t{plane} * job.map_words);
  for (std::uint32_t i = threadIdx.x; i < (plan.header_bits + 7) / 8; i += blockDim.x) to[2 + i] = bits[i];
}

// Bytes of a slot, of which whole words may be read beside those that are asked for.
struct SlotBytes {
  const std::byte* from;
  __device__ std::uint32_t byte(std::uint32_t i) const { return static_cast<std::uint32_t>(from[i]); }
  __device__ std::uint32_t word(std::uint32_t i) const {
    const auto address = reinterpret_cast<std::uintptr_t>(from + i);
    const auto* const words = reinterpret_cast<const std::uint32_t*>(address / 4 * 4);
    return __funnelshift_r(__ldg(words), __ldg(words + 1), static_cast<std::uint32_t>(address % 4 * 8));
  }
};

struct TensorBytes {
  const std::byte* from;
  __device__ std::uint32_t byte(std::uint32_t i) const { return static_cast<std::uint32_t>(from[i]); }
  __device__ std::uint32_t word(std::uint32_t i) const {
    return byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24;
  }
};

template <class Word>
struct RawPlane {
  const ElementsOf& elements;
  NumberForm form;
  std::uint32_t plane;
  std::uint64_t begin;
  __device__ std::uint32_t byte(std::uint32_t i) const {
    const Word now = load_element<Word>(elements.now, begin + i);
    const Word before =
        form == NumberForm::kPredicted ? load_element<Word>(elements.before, begin + i) : Word{0};
    return byte_of(number_as(form, now, before), plane);
  }
  __device__ std::uint32_t word(std::uint32_t i) const {
    return byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24;
  }
};

// `count` bytes by one warp, in whole words where the target has them.
template <class Source>
__device__ void move(std::byte* to, std::uint32_t count, std::uint32_t lane, const Source& source) {
  const auto misaligned = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(to) % 4);
  const std::uint32_t head = min((4 - misaligned) % 4, count), words = (count - head) / 4;
  if (lane < head) to[lane] = static_cast<std::byte>(source.byte(lane));
  auto* const whole = reinterpret_cast<std::uint32_t*>(to + head);
#pragma unroll 4
  for (std::uint32_t i = lane; i < words; i += kWarp) whole[i] = source.word(head + 4 * i);
  const std::uint32_t done = head + 4 * words;
  if (lane < count - done) to[done + lane] = static_cast<std::byte>(source.byte(done + lane));
}

// A warp for each chunk. Every block finds by itself where its chunks go.
template <class Word>
__global__ void __launch_bounds__(kWarps* kWarp) assemble(EncodeJob job) {
  wait_for_earlier_work();
  __shared__ Layout layout;
  const std::uint32_t plane = blockIdx.y, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  measure(job, plane, blockIdx.x * kWarps, layout);
  const Places places = places_of(job, layout, plane);
  const PlanePlan& plan = layout.plans[plane];
  if (blockIdx.x == 0) put_heads(job, plan, plane, places);
  const std::uint32_t chunk = blockIdx.x * kWarps + warp;
  if (chunk >= job.chunks) return;
  const ElementsOf& elements = job.elements;
  const std::uint64_t begin = std::uint64_t{chunk} * kEncodedChunk;
  const auto count = static_cast<std::uint32_t>(min(std::uint64_t{kEncodedChunk}, elements.count - begin));
  if (places.raw) {
    if (plane != 0) return;
    const std::uint64_t at = begin * sizeof(Word);
    move(job.frame + places.header_bytes + at, count * static_cast<std::uint32_t>(sizeof(Word)), lane,
         TensorBytes{elements.now + at});
  } else if (plan.is_coded) {
    std::uint64_t before = layout.before;
    for (std::uint32_t w = 0; w < warp; ++w) before += layout.own[w];
    const auto bytes = static_cast<std::uint32_t>(layout.own[warp] & kDataMask);
    if (lane == 0) put_varint(job.frame + places.sizes + (before >> kSizeShift), bytes);
    const std::size_t slot = std::size_t{plane} * job.chunks + chunk;
    move(job.frame + places.data + (before & kDataMask), bytes, lane,
         SlotBytes{job.slots + (slot + 1) * kSlotBytes - 16 - bytes});
  } else if (plan.treatment == PlaneTreatment::kRaw) {
    const NumberForm form = job.outcome->is_predicted != 0 ? NumberForm::kPredicted : elements.key_form;
    move(job.frame + places.data + begin, count, lane, RawPlane<Word>{elements, form, plane, begin});
  }
}

template <class Word>
void launch_as(const EncodeJob& job, cudaStream_t stream) {
  const dim3 grid((job.chunks - 1) / kWarps + 1, job.elements.width);
  start_behind(assemble<Word>, grid, kWarps * kWarp, 0, stream, job);
}

}  // namespace

void launch_assembly(const EncodeJob& job, cudaStream_t stream) {
  if (job.elements.width == 1) return launch_as<std::uint8_t>(job, stream);
  if (job.elements.width == 2) return launch_as<std::uint16_t>(job, stream);
  launch_as<std::uint32_t>(job, stream);
}

}  // namespace pinion::codec::cuda
