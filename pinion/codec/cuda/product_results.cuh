#pragma once
// What becomes of the sums of mode 6's products: each takes four columns of a row at a time. See
// tile_product.cuh.

#include "pinion/codec/cuda/calibrated_jobs.h"
#include "pinion/codec/cuda/calibrated_numbers.cuh"

namespace pinion::codec::cuda {

// y[k][row] = sums times the scale of the row.
struct PredictResult {
  float* to;
  const float* row_scales;
  std::uint32_t components, pitch;

  __device__ float4 column(std::uint32_t row) const {
    return row < pitch ? __ldg(reinterpret_cast<const float4*>(row_scales + row)) : make_float4(0, 0, 0, 0);
  }
  __device__ void operator()(std::uint32_t k, std::uint32_t row, float4 scales, float4 sums) const {
    if (k >= components || row >= pitch) return;
    *reinterpret_cast<float4*>(to + std::size_t{k} * pitch + row) =
        make_float4(sums.x * scales.x, sums.y * scales.y, sums.z * scales.z, sums.w * scales.w);
  }
};

struct ResidualResult {
  float* to;
  const float* prediction;
  RecordPair records;
  const float* projected_means;  // null: the tensor was centred
  std::uint32_t components, pitch;

  __device__ float4 column(std::uint32_t) const { return {}; }
  __device__ void operator()(std::uint32_t k, std::uint32_t row, float4, float4 sums) const {
    if (k >= components || row >= pitch) return;
    const std::size_t at = std::size_t{k} * pitch + row;
    const float4 p = __ldg(reinterpret_cast<const float4*>(prediction + at));
    const float mean = projected_means == nullptr ? 0 : blended_at(projected_means, components, records, k);
    *reinterpret_cast<float4*>(to + at) =
        make_float4(sums.x - mean - p.x, sums.y - mean - p.y, sums.z - mean - p.z, sums.w - mean - p.w);
  }
};

__device__ inline float bounded(float value, float limit) {
  return value == value ? fminf(fmaxf(value, -limit), limit) : 0.0f;
}

// Elements of a row one by one: not inlined, as few tensors need it.
__device__ __noinline__ inline void put_elements(std::byte* to, std::uint8_t dtype, std::size_t at,
                                                 std::uint32_t count, float4 four) {
  const float values[4] = {four.x, four.y, four.z, four.w};
  for (std::uint32_t i = 0; i < count; ++i) {
    if (dtype == 0) reinterpret_cast<float*>(to)[at + i] = values[i];
    if (dtype == 1) reinterpret_cast<__half*>(to)[at + i] = __float2half_rn(values[i]);
    if (dtype == 2) reinterpret_cast<__nv_bfloat16*>(to)[at + i] = __float2bfloat16_rn(values[i]);
  }
}

// tensor[row][channel] = mean + sums, rounded to its type: bfloat16 where kIsBfloat says so, and channels a
// multiple of four where kInFours does.
template <bool kIsBfloat, bool kInFours = false>
struct RebuildResult {
  std::byte* to;
  RecordPair records;
  const float* means;
  const float* row_scales;
  std::uint32_t rows, channels;
  std::uint8_t dtype;

  __device__ float mean(std::uint32_t channel) const {
    return channel < channels ? blended_at(means, channels, records, channel) : 0;
  }
  __device__ float4 column(std::uint32_t channel) const {
    if (!are_in_fours())
      return make_float4(mean(channel), mean(channel + 1), mean(channel + 2), mean(channel + 3));
    if (channel >= channels) return make_float4(0, 0, 0, 0);
    const auto at = [&](std::uint32_t record) {
      return __ldg(reinterpret_cast<const float4*>(means + std::size_t{record} * channels + channel));
    };
    const float4 a = at(records.first), b = at(records.second);
    return make_float4(blended(a.x, b.x, records.part), blended(a.y, b.y, records.part),
                       blended(a.z, b.z, records.part), blended(a.w, b.w, records.part));
  }
  __device__ void operator()(std::uint32_t row, std::uint32_t channel, float4 mean, float4 sums) const {
    if (row >= rows || channel >= channels) return;
    const float scale = __ldg(row_scales + row);
    const std::size_t at = std::size_t{row} * channels + channel;
    const std::uint8_t type = kIsBfloat ? 2 : dtype;
    const float limit = type == 2 ? 3.38953139e38f : type == 1 ? 65504.0f : 3.40282347e38f;
    const float4 values =
        make_float4(bounded(sums.x * scale + mean.x, limit), bounded(sums.y * scale + mean.y, limit),
                    bounded(sums.z * scale + mean.z, limit), bounded(sums.w * scale + mean.w, limit));
    if (!are_in_fours()) return put_elements(to, type, at, min(4u, channels - channel), values);
    if (type == 0) {
      *reinterpret_cast<float4*>(reinterpret_cast<float*>(to) + at) = values;
    } else if (type == 1) {
      *reinterpret_cast<uint2*>(reinterpret_cast<__half*>(to) + at) = make_uint2(
          pair_of(__floats2half2_rn(values.x, values.y)), pair_of(__floats2half2_rn(values.z, values.w)));
    } else {
      *reinterpret_cast<uint2*>(reinterpret_cast<__nv_bfloat16*>(to) + at) =
          make_uint2(pair_of(__floats2bfloat162_rn(values.x, values.y)),
                     pair_of(__floats2bfloat162_rn(values.z, values.w)));
    }
  }

 private:
  __device__ bool are_in_fours() const { return kInFours || channels % 4 == 0; }

  template <class Pair>
  __device__ static std::uint32_t pair_of(const Pair& pair) {
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  }
};

}  // namespace pinion::codec::cuda
