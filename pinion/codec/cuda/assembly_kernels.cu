// The frame out of its parts (docs/format.md §2, §5.2): one block lays it out and writes what stands before
// the data, then a warp for each chunk moves the data to its place.

#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/frame_fields.cuh"
#include "pinion/codec/cuda/kernels.h"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kLayoutThreads = 1024;
constexpr std::uint32_t kWarps = 8;
constexpr std::uint8_t kVersion = 1, kRawMode = 0, kLosslessMode = 1, kFlagPrevious = 2;

__device__ std::uint32_t plane_header_bytes(const PlanePlan& plan) {
  if (plan.treatment == PlaneTreatment::kConstant) return 2;
  return plan.is_coded ? 2 + (plan.header_bits + 7) / 8 : 1;
}

// All fields before the body; returns their size. With `to` null they are only measured.
__device__ std::uint32_t put_frame_header(const EncodeJob& job, bool raw, std::uint64_t body_bytes,
                                          std::byte* to) {
  const bool predicted = !raw && job.outcome->is_predicted != 0;
  if (to != nullptr) {
    to = put(put(put(put(put(to, 'P'), 'N'), 'F'), '1'), kVersion);
    to = put(to, raw ? kRawMode : kLosslessMode);
    to = put(to, job.dtype);
    to = put(to, predicted ? kFlagPrevious : 0);
    for (std::uint32_t i = 0; i < job.shape_bytes; ++i) to = put(to, job.shape[i]);
    to = put_varint(to, body_bytes);
    for (std::uint32_t i = 0; i < 4 && predicted; ++i) to = put(to, job.previous >> (8 * i));
  }
  return 8 + job.shape_bytes + varint_bytes(body_bytes) + (predicted ? 4 : 0);
}

struct LayoutScratch {
  std::uint64_t sums[kLayoutThreads / kWarp];
  PlanePlan plans[kPlanes];
  std::uint64_t size_bytes[kPlanes], data_bytes[kPlanes];  // of the chunk sizes, and of the data
  std::uint32_t head_bytes;                                // of the section before the chunk sizes
};

// Bytes of a chunk size and of the chunk in one number, to be summed at once.
constexpr std::uint32_t kSizeShift = 40;
constexpr std::uint64_t kDataMask = (std::uint64_t{1} << kSizeShift) - 1;

__device__ std::uint64_t both_bytes(std::uint32_t chunk_bytes) {
  return std::uint64_t{varint_bytes(chunk_bytes)} << kSizeShift | chunk_bytes;
}

// The chunks of a plane that a thread looks after: [first, end).
struct Share {
  std::uint32_t first, end;
};

__device__ Share share_of(const EncodeJob& job) {
  const std::uint32_t own = (job.chunks - 1) / kLayoutThreads + 1;
  const std::uint32_t first = min(threadIdx.x * own, job.chunks);
  return {first, min(first + own, job.chunks)};
}

// Measures each plane's chunk sizes and data; `before` becomes what lies before this thread's share of each.
__device__ void measure(const EncodeJob& job, LayoutScratch& scratch, std::uint64_t (&before)[kPlanes]) {
  const Share share = share_of(job);
#pragma unroll
  for (std::uint32_t p = 0; p < kPlanes; ++p) {
    if (p >= job.elements.width) break;
    const PlanePlan& plan = scratch.plans[p];
    std::uint64_t own = 0, total = 0;
    for (std::uint32_t i = share.first; i < share.end && plan.is_coded; ++i)
      own += both_bytes(job.sizes[std::size_t{p} * job.chunks + i]);
    before[p] = plan.is_coded ? block_sum_before(own, scratch.sums, total) : 0;
    if (threadIdx.x != 0) continue;
    scratch.size_bytes[p] = total >> kSizeShift;
    scratch.data_bytes[p] = plan.treatment == PlaneTreatment::kRaw ? job.elements.count : total & kDataMask;
  }
  if (threadIdx.x == 0) {
    scratch.head_bytes = 1 + varint_bytes(kEncodedChunk);
    for (std::uint32_t p = 0; p < job.elements.width; ++p)
      scratch.head_bytes += plane_header_bytes(scratch.plans[p]);
  }
  __syncthreads();
}

// The section up to the chunk sizes.
__device__ void put_section_head(const EncodeJob& job, const LayoutScratch& scratch, std::byte* to) {
  if (threadIdx.x == 0) put_varint(put(to, 5), kEncodedChunk);
  to += 1 + varint_bytes(kEncodedChunk);
  for (std::uint32_t p = 0; p < job.elements.width; ++p) {
    const PlanePlan& plan = scratch.plans[p];
    if (threadIdx.x == 0) {
      put(to, static_cast<std::uint32_t>(plan.treatment));
      if (plan.treatment == PlaneTreatment::kConstant) put(to + 1, plan.constant);
      if (plan.is_coded) put(to + 1, plan.classes);
    }
    if (plan.is_coded) {
      const auto* const bits =
          reinterpret_cast<const std::byte*>(job.headers + std::size_t{p} * job.map_words);
      for (std::uint32_t i = threadIdx.x; i < (plan.header_bits + 7) / 8; i += kLayoutThreads)
        to[2 + i] = bits[i];
    }
    to += plane_header_bytes(plan);
  }
}

// The chunk sizes of this thread's share and the places of its chunks; those of the plane begin at `sizes_at`
// and `data_at` of the frame, `before` is what measure() said.
__device__ void put_sizes(const EncodeJob& job, std::uint32_t plane, std::uint64_t sizes_at,
                          std::uint64_t data_at, std::uint64_t before) {
  const Share share = share_of(job);
  for (std::uint32_t i = share.first; i < share.end; ++i) {
    const std::size_t chunk = std::size_t{plane} * job.chunks + i;
    const std::uint32_t bytes = job.sizes[chunk];
    put_varint(job.frame + sizes_at + (before >> kSizeShift), bytes);
    job.places[chunk] = data_at + (before & kDataMask);
    before += both_bytes(bytes);
  }
}

__global__ void lay_out(EncodeJob job) {
  __shared__ LayoutScratch scratch;
  if (threadIdx.x < job.elements.width) scratch.plans[threadIdx.x] = job.plans[threadIdx.x];
  __syncthreads();
  std::uint64_t before[kPlanes] = {};
  measure(job, scratch, before);
  std::uint64_t body_bytes = scratch.head_bytes;
  for (std::uint32_t p = 0; p < job.elements.width; ++p)
    body_bytes += scratch.size_bytes[p] + scratch.data_bytes[p];
  const std::uint64_t tensor_bytes = job.elements.count * job.elements.width;
  const bool raw = body_bytes >= tensor_bytes;
  if (raw) body_bytes = tensor_bytes;
  const std::uint32_t header_bytes = put_frame_header(job, raw, body_bytes, nullptr);
  if (threadIdx.x == 0) {
    put_frame_header(job, raw, body_bytes, job.frame);
    job.outcome->is_raw = raw;
    job.outcome->begin = 0;
    job.outcome->frame_bytes = header_bytes + body_bytes + 4;
    if (raw) job.places[0] = header_bytes;
  }
  if (raw) return;
  put_section_head(job, scratch, job.frame + header_bytes);
  std::uint64_t sizes_at = header_bytes + scratch.head_bytes, data_at = sizes_at;
  for (std::uint32_t p = 0; p < job.elements.width; ++p) data_at += scratch.size_bytes[p];
#pragma unroll
  for (std::uint32_t p = 0; p < kPlanes; ++p) {
    if (p >= job.elements.width) break;
    if (scratch.plans[p].is_coded) put_sizes(job, p, sizes_at, data_at, before[p]);
    if (scratch.plans[p].treatment == PlaneTreatment::kRaw && threadIdx.x == 0)
      job.places[std::size_t{p} * job.chunks] = data_at;
    sizes_at += scratch.size_bytes[p];
    data_at += scratch.data_bytes[p];
  }
}

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

template <class Word>
__global__ void move_data(EncodeJob job) {
  const std::uint32_t plane = blockIdx.y, lane = threadIdx.x % kWarp;
  const std::uint32_t chunk = blockIdx.x * kWarps + threadIdx.x / kWarp;
  if (chunk >= job.chunks) return;
  const ElementsOf& elements = job.elements;
  const std::uint64_t begin = std::uint64_t{chunk} * kEncodedChunk;
  const auto count = static_cast<std::uint32_t>(min(std::uint64_t{kEncodedChunk}, elements.count - begin));
  if (job.outcome->is_raw != 0) {
    if (plane != 0) return;
    const std::uint64_t at = begin * sizeof(Word);
    move_bytes(job.frame + job.places[0] + at, count * static_cast<std::uint32_t>(sizeof(Word)), lane,
               TensorBytes{elements.now + at});
    return;
  }
  const PlanePlan plan = job.plans[plane];
  if (plan.is_coded) {
    const std::size_t slot = std::size_t{plane} * job.chunks + chunk;
    const std::uint32_t bytes = job.sizes[slot];
    move_bytes(job.frame + job.places[slot], bytes, lane,
               SlotBytes{job.slots + (slot + 1) * kSlotBytes - 16 - bytes});
  } else if (plan.treatment == PlaneTreatment::kRaw) {
    const NumberForm form = job.outcome->is_predicted != 0 ? NumberForm::kPredicted : elements.key_form;
    move_bytes(job.frame + job.places[std::size_t{plane} * job.chunks] + begin, count, lane,
               RawPlane<Word>{elements, form, plane, begin});
  }
}

template <class Word>
void launch_as(const EncodeJob& job, cudaStream_t stream) {
  lay_out<<<1, kLayoutThreads, 0, stream>>>(job);
  const dim3 grid((job.chunks - 1) / kWarps + 1, job.elements.width);
  move_data<Word><<<grid, kWarps * kWarp, 0, stream>>>(job);
}

}  // namespace

void launch_assembly(const EncodeJob& job, cudaStream_t stream) {
  if (job.elements.width == 1) return launch_as<std::uint8_t>(job, stream);
  if (job.elements.width == 2) return launch_as<std::uint16_t>(job, stream);
  launch_as<std::uint32_t>(job, stream);
}

}  // namespace pinion::codec::cuda
