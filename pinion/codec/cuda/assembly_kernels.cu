// The frame out of its parts (docs/format.md §2, §5.2): a warp for each chunk moves the data to its place,
// the first blocks write what stands before the data.

#include <type_traits>

#include "pinion/codec/cuda/chunk_sizes.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kWarps = 8;
constexpr std::uint8_t kVersion = 1, kFlagPrevious = 2;

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
    to = put(to, raw ? kRawMode : job.mode);
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
  std::uint64_t escapes, escapes_before;  // of mode 3: all, and those before the block's first chunk
};

// Sums of both_bytes() of the groups [first, end) of a plane, by a warp.
__device__ std::uint64_t sum_groups(const EncodeJob& job, std::uint32_t plane, std::uint32_t end,
                                    std::uint32_t lane) {
  const std::uint64_t* const groups = job.group_sums + std::size_t{plane} * groups_of(job);
  std::uint64_t sum = 0;
  for (std::uint32_t g = lane; g < end; g += kWarp) sum += groups[g];
  return warp_sum(sum);
}

// How many elements of mode 3 are escaped, and those before chunk `first`.
__device__ void measure_escapes(const EncodeJob& job, std::uint32_t first, Layout& layout) {
  const std::uint32_t group = first / kGroupChunks, chunk = group * kGroupChunks + threadIdx.x;
  std::uint64_t all = 0, before = chunk < first ? job.bounded.escapes_of_chunk[chunk] : 0;
  for (std::uint32_t g = threadIdx.x; g < groups_of(job); g += blockDim.x) {
    const std::uint32_t of = job.bounded.escapes_of_group[g];
    all += of;
    before += g < group ? of : 0;
  }
  all = block_sum(all, layout.sums);
  before = block_sum(before, layout.sums);
  if (threadIdx.x == 0) {
    layout.escapes = all;
    layout.escapes_before = before;
  }
  __syncthreads();
}

// By a block that looks after kWarps chunks of a plane, from chunk `first` on.
__device__ void measure(const EncodeJob& job, std::uint32_t plane, std::uint32_t first, Layout& layout) {
  const std::uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, width = job.elements.width;
  static_assert(kPlanes < kWarps && kGroupChunks == kWarps * kWarp);
  if (job.mode == kBoundedMode) measure_escapes(job, first, layout);
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
  std::uint64_t escapes = 0, section = 0;               // in mode 3 not at once
  std::uint64_t plane_header = 0, sizes = 0, data = 0;  // of the block's plane
};

// What stands before the escaped elements of mode 3.
__device__ std::uint64_t bounded_head_bytes(const EncodeJob& job, std::uint64_t escapes) {
  const std::uint64_t steps = job.bounded.per_channel ? job.elements.channels : 1;
  return 1 + 2 * steps + 1 + varint_bytes(escapes);
}

__device__ void put_bounded_head(const EncodeJob& job, std::uint64_t escapes, std::byte* to) {
  const bool per_channel = job.bounded.per_channel;
  const std::uint32_t steps = per_channel ? job.elements.channels : 1;
  for (std::uint32_t i = threadIdx.x; i < steps; i += blockDim.x) {
    const std::uint32_t step = per_channel ? job.bounded.step_bits[i] : job.bounded.one_in_frame;
    put(put(to + 1 + 2 * i, step), step >> 8);
  }
  if (threadIdx.x != 0) return;
  put(to, per_channel ? 1 : 0);
  put_varint(put(to + 1 + 2 * std::size_t{steps}, job.elements.width), escapes);
}

__device__ std::uint64_t data_bytes(const EncodeJob& job, const Layout& layout, std::uint32_t plane) {
  if (layout.plans[plane].treatment == PlaneTreatment::kRaw) return job.elements.count;
  return layout.totals[plane] & kDataMask;
}

__device__ Places places_of(const EncodeJob& job, const Layout& layout, std::uint32_t plane) {
  const std::uint32_t width = job.elements.width;
  const std::uint64_t tensor_bytes = job.elements.count * job.tensor_width;
  Places places;
  if (job.mode == kBoundedMode) {
    places.escapes = bounded_head_bytes(job, layout.escapes);
    places.section = places.escapes + layout.escapes * job.tensor_width;
  }
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
  places.body_bytes = places.section + head + sizes + data;
  places.raw = places.body_bytes >= tensor_bytes;
  if (places.raw) places.body_bytes = tensor_bytes;
  places.header_bytes = put_frame_header(job, places.raw, places.body_bytes, nullptr);
  places.escapes += places.header_bytes;
  places.section += places.header_bytes;
  places.plane_header += places.section;
  places.sizes += places.section + head;
  places.data += places.section + head + sizes;
  return places;
}

// What stands before the data of all planes, by the first block of each plane.
__device__ void put_heads(const EncodeJob& job, const Layout& layout, std::uint32_t plane,
                          const Places& places) {
  const PlanePlan& plan = layout.plans[plane];
  if (plane == 0 && threadIdx.x == 0) {
    put_frame_header(job, places.raw, places.body_bytes, job.frame);
    job.outcome->is_raw = places.raw;
    job.outcome->frame_bytes = places.header_bytes + places.body_bytes + 4;
    if (!places.raw) put_varint(put(job.frame + places.section, 5), kEncodedChunk);
  }
  if (places.raw) return;
  if (plane == 0 && job.mode == kBoundedMode)
    put_bounded_head(job, layout.escapes, job.frame + places.header_bytes);
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

struct TensorBytes {
  const std::byte* from;
  __device__ std::uint32_t byte(std::uint32_t i) const { return static_cast<std::uint32_t>(from[i]); }
  __device__ std::uint32_t word(std::uint32_t i) const {
    return byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24;
  }
};

// Elements of a plane that stays raw, from element `begin` on.
template <class Word>
struct RawPlane {
  const ElementsOf& elements;
  NumberForm form;
  std::uint32_t plane;
  std::uint64_t begin;
  __device__ std::uint32_t byte_of_element(Word now, Word before) const {
    return byte_of(number_as(form, now, before), plane);
  }
  __device__ std::uint32_t byte(std::uint32_t i) const {
    const Word now = load_element<Word>(elements.now, begin + i);
    const Word before =
        form == NumberForm::kPredicted ? load_element<Word>(elements.before, begin + i) : Word{0};
    return byte_of_element(now, before);
  }
};

constexpr std::uint32_t kPart = 8;  // elements of a lane

template <class Word>
struct Part {
  alignas(16) Word now[kPart], before[kPart];
};

// Eight elements; if all loads may be of 16 bytes, or 8 for bytes.
template <class Word>
__device__ void load_part(const RawPlane<Word>& from, bool aligned, std::uint32_t i, Part<Word>& to) {
  using Wide = std::conditional_t<sizeof(Word) == 1, uint2, uint4>;
  constexpr std::uint32_t kLoads = sizeof(Word) * kPart / sizeof(Wide);
  const bool predicted = from.form == NumberForm::kPredicted;
  if (aligned) {
    const auto* const now =
        reinterpret_cast<const Wide*>(reinterpret_cast<const Word*>(from.elements.now) + from.begin + i);
    const auto* const before =
        reinterpret_cast<const Wide*>(reinterpret_cast<const Word*>(from.elements.before) + from.begin + i);
#pragma unroll
    for (std::uint32_t k = 0; k < kLoads; ++k) {
      reinterpret_cast<Wide*>(to.now)[k] = __ldg(now + k);
      if (predicted) reinterpret_cast<Wide*>(to.before)[k] = __ldg(before + k);
    }
    return;
  }
#pragma unroll
  for (std::uint32_t k = 0; k < kPart; ++k) {
    to.now[k] = load_element<Word>(from.elements.now, from.begin + i + k);
    if (predicted) to.before[k] = load_element<Word>(from.elements.before, from.begin + i + k);
  }
}

// The plane's bytes of `count` elements by one warp, eight a lane. Words in the frame begin `skew` bytes
// before a lane's bytes: the rest of a word comes from the lane before.
template <class Word>
__device__ void move_plane(std::byte* to, std::uint32_t count, std::uint32_t lane,
                           const RawPlane<Word>& from) {
  constexpr std::uint32_t kStep = kPart * kWarp, kAtOnce = sizeof(Word) == 4 ? 2 : 4;
  const auto skew = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(to) % 4);
  const auto address =
      reinterpret_cast<std::uintptr_t>(from.elements.now) |
      (from.form == NumberForm::kPredicted ? reinterpret_cast<std::uintptr_t>(from.elements.before)
                                           : std::uintptr_t{0});
  const bool aligned = address % 16 == 0;  // chunks begin at multiples of 16 elements
  const std::uint32_t whole = count / kStep * kStep;
  auto* const words = reinterpret_cast<std::uint32_t*>(to - skew);
  std::uint32_t carried = 0;  // the last bytes of the step before
  for (std::uint32_t first = 0; first < whole; first += kAtOnce * kStep) {
    Part<Word> parts[kAtOnce];
#pragma unroll
    for (std::uint32_t k = 0; k < kAtOnce; ++k)
      load_part(from, aligned, min(first + k * kStep, whole - kStep) + kPart * lane, parts[k]);
#pragma unroll
    for (std::uint32_t k = 0; k < kAtOnce; ++k) {
      const std::uint32_t at = first + k * kStep;
      if (at >= whole) break;
      std::uint32_t bytes[2] = {};
#pragma unroll
      for (std::uint32_t i = 0; i < kPart; ++i)
        bytes[i / 4] |= from.byte_of_element(parts[k].now[i], parts[k].before[i]) << (8 * (i % 4));
      std::uint32_t last = __shfl_up_sync(0xffffffffu, bytes[1], 1);
      if (lane == 0) last = carried;
      carried = __shfl_sync(0xffffffffu, bytes[1], 31);
      const std::uint32_t word = at / 4 + 2 * lane;
      words[word + 1] = __funnelshift_l(bytes[0], bytes[1], 8 * skew);
      if (at == 0 && lane == 0) {
        for (std::uint32_t i = 0; i < 4 - skew; ++i)
          to[i] = static_cast<std::byte>(bytes[0] >> (8 * i) & 255);
      } else {
        words[word] = __funnelshift_l(last, bytes[0], 8 * skew);
      }
    }
  }
  // What no step took, and of the last step what a word would have held with it.
  const std::uint32_t done = whole == 0 ? 0 : whole - skew;
  for (std::uint32_t i = done + lane; i < count; i += kWarp) to[i] = static_cast<std::byte>(from.byte(i));
}

// The escaped elements of a chunk, by a warp.
__device__ void put_escapes(const EncodeJob& job, const Layout& layout, const Places& places,
                            std::uint32_t chunk) {
  const BoundedCoding& bounded = job.bounded;
  if (bounded.escapes_of_chunk[chunk] == 0) return;
  const std::uint32_t lane = threadIdx.x % kWarp, width = job.tensor_width;
  std::uint64_t before = layout.escapes_before;
  for (std::uint32_t c = chunk / kWarps * kWarps; c < chunk; ++c) before += bounded.escapes_of_chunk[c];
  const std::uint64_t begin = std::uint64_t{chunk} * kEncodedChunk;
  const auto count =
      static_cast<std::uint32_t>(min(std::uint64_t{kEncodedChunk}, job.elements.count - begin));
  for (std::uint32_t first = 0; first < count; first += 8 * kWarp) {
    const std::uint32_t at = first + 8 * lane;
    std::uint32_t mask = at < count ? bounded.escape_masks[(begin + at) / 8] : 0;
    const auto own = static_cast<std::uint32_t>(__popc(mask));
    std::uint64_t place = before + warp_sum_before(own, lane);
    before += warp_sum(own);
    for (; mask != 0; mask &= mask - 1, ++place) {
      const std::uint64_t element =
          begin + at + static_cast<std::uint32_t>(__ffs(static_cast<int>(mask))) - 1;
      for (std::uint32_t i = 0; i < width; ++i)
        job.frame[places.escapes + place * width + i] = job.tensor[element * width + i];
    }
  }
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
  if (blockIdx.x == 0) put_heads(job, layout, plane, places);
  const std::uint32_t chunk = blockIdx.x * kWarps + warp;
  if (chunk >= job.chunks) return;
  const ElementsOf& elements = job.elements;
  const std::uint64_t begin = std::uint64_t{chunk} * kEncodedChunk;
  const auto count = static_cast<std::uint32_t>(min(std::uint64_t{kEncodedChunk}, elements.count - begin));
  if (places.raw) {
    if (plane != 0) return;
    const std::uint64_t at = begin * job.tensor_width;
    move_bytes(job.frame + places.header_bytes + at, count * job.tensor_width, lane,
               TensorBytes{job.tensor + at});
    return;
  }
  if (plane == 0 && job.mode == kBoundedMode) put_escapes(job, layout, places, chunk);
  if (plan.is_coded) {
    std::uint64_t before = layout.before;
    for (std::uint32_t w = 0; w < warp; ++w) before += layout.own[w];
    const auto bytes = static_cast<std::uint32_t>(layout.own[warp] & kDataMask);
    if (lane == 0) put_varint(job.frame + places.sizes + (before >> kSizeShift), bytes);
    const std::size_t slot = std::size_t{plane} * job.chunks + chunk;
    move_bytes(job.frame + places.data + (before & kDataMask), bytes, lane,
               SlotBytes{job.slots + (slot + 1) * kSlotBytes - 16 - bytes});
  } else if (plan.treatment == PlaneTreatment::kRaw) {
    const NumberForm form = job.outcome->is_predicted != 0 ? NumberForm::kPredicted : elements.key_form;
    move_plane(job.frame + places.data + begin, count, lane, RawPlane<Word>{elements, form, plane, begin});
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
