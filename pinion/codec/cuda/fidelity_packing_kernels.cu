// The parameters of a frame of mode 2 as bits, and the fields before them (docs/format.md §6.1, §6.2). One
// block.

#include "pinion/codec/cuda/bit_packing.cuh"
#include "pinion/codec/cuda/fidelity_encode_kernels.h"
#include "pinion/codec/cuda/frame_fields.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 1024, kWarps = kThreads / 32;
constexpr std::uint32_t kScaleBits = 8, kShapeBits = 2, kCoefficientBits = 8, kOffsetBits = 3;

__device__ std::uint32_t zigzag(int value) {
  return static_cast<std::uint32_t>(value >= 0 ? 2 * value : -2 * value - 1);
}

struct PackMemory {
  std::uint32_t counts[kWarps];
  RiceTotals totals;
};

// The parameters; returns their bits.
__device__ std::uint32_t pack_parameters(const FidelityEncodeJob& job, PackMemory& memory) {
  const FidelityPlan& plan = *job.plan;
  const ClassChoice& choice = *job.choice;
  std::uint32_t* const words = job.param_words;
  std::uint32_t at = 0;
  const auto put = [&](std::uint32_t value, std::uint32_t bits) {
    if (threadIdx.x == 0) put_packed(words, at, value);
    at += bits;
  };
  put(job.mean_coding->shape, kShapeBits);
  put(job.mean_coding->scale, kScaleBits);
  if (job.references > 0) put(plan.mean_coefficient, kCoefficientBits);
  put(choice.rare, kShapeBits);
  put(choice.wide, kShapeBits);
  const std::uint8_t* const scales = job.next_scales;
  const auto from_left = [&](std::uint32_t k) { return zigzag(scales[k] - (k == 0 ? 0 : scales[k - 1])); };
  const auto from_last = [&](std::uint32_t k) { return zigzag(scales[k] - job.scales_before[k]); };
  const RiceChoice left = choose_rice(job.components, from_left, memory.totals);
  bool is_from_last = false;
  if (job.references > 0) {
    const RiceChoice last = choose_rice(job.components, from_last, memory.totals);
    is_from_last = last.bits < left.bits;
    put(is_from_last ? 1 : 0, 1);
    if (is_from_last) at = pack_rice(words, at, job.components, from_last, last.low_bits, memory.counts);
  }
  if (!is_from_last) at = pack_rice(words, at, job.components, from_left, left.low_bits, memory.counts);
  if (job.references > 0) {
    put(plan.sets - 1, 4);
    for (std::uint32_t i = 0; i < plan.sets; ++i) {
      for (std::uint32_t j = 0; j < job.references; ++j) put(plan.written[i][j], kCoefficientBits);
    }
    const auto predictor = [&](std::uint32_t k) { return std::uint32_t{job.predictor_of[k]}; };
    const RiceChoice rice = choose_rice(job.components, predictor, memory.totals);
    at = pack_rice(words, at, job.components, predictor, rice.low_bits, memory.counts);
  }
  for (std::uint32_t scale = 1; scale <= kOffsetScaleCount; ++scale) {
    if ((choice.present >> scale & 1) == 0) continue;
    put(choice.one[scale], kOffsetBits);
    put(choice.more[scale], kOffsetBits);
  }
  return at;
}

// The body up to the parameters, by one thread.
__device__ void write_fields(const FidelityEncodeJob& job, std::uint32_t param_bits) {
  const FidelityPlan& plan = *job.plan;
  FidelityFields& fields = *job.fields;
  fields.param_bytes = (param_bits + 7) / 8;
  std::byte* to = fields.first;
  const std::uint32_t step = __float_as_uint(plan.step);
  for (std::uint32_t i = 0; i < 4; ++i) to = put(to, step >> (8 * i));
  to = put(to, plan.mean_shift);
  if (job.references > 0) {
    to = put(to, job.references);
    for (std::uint32_t i = 0; i < job.references; ++i) to = put_varint(to, plan.ratios[i]);
  }
  to = put(put_varint(to, job.components), 1);  // one band
  to = put_varint(to, fields.param_bytes);
  fields.first_bytes = static_cast<std::uint32_t>(to - fields.first);
}

__global__ void __launch_bounds__(kThreads) pack_fields(FidelityEncodeJob job) {
  __shared__ PackMemory memory;
  const std::uint32_t param_bits = pack_parameters(job, memory);
  if (threadIdx.x == 0) write_fields(job, param_bits);
}

}  // namespace

void launch_parameter_packing(const FidelityEncodeJob& job, cudaStream_t stream) {
  pack_fields<<<1, kThreads, 0, stream>>>(job);
}

}  // namespace pinion::codec::cuda
