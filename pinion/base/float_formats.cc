#include "pinion/base/float_formats.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "pinion/base/assert.h"

namespace pinion {
namespace {

// An fp8 format with `mantissa_bits` and the given exponent bias; NaN and infinity are the callers' work.
float small_float(std::uint8_t bits, int mantissa_bits, int bias) {
  const int mantissa_mask = (1 << mantissa_bits) - 1;
  const int exponent = (bits & 0x7f) >> mantissa_bits;
  const int mantissa = bits & mantissa_mask;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), 1 - bias - mantissa_bits)
                                        : std::ldexp(static_cast<float>(mantissa | (1 << mantissa_bits)),
                                                     exponent - bias - mantissa_bits);
  return (bits & 0x80) ? -magnitude : magnitude;
}

template <class T>
T load(const std::byte* data, std::int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <class T, class Convert>
void convert_all(const std::byte* data, std::int64_t count, float* out, Convert convert) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = convert(load<T>(data, i));
}

}  // namespace

float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

std::uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x1ffu));
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds past 65504
  if (magnitude < 0x38800000u) {
    // Subnormal in fp16: adding 0.5 (whose unit in the last place is 2^-24) lets the FPU round to even.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
  const std::uint32_t to_even = 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((magnitude + to_even - 0x38000000u) >> 13));
}

float f8e4m3_to_float(std::uint8_t bits) {
  if ((bits & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  return small_float(bits, 3, 7);
}

float f8e5m2_to_float(std::uint8_t bits) {
  if ((bits & 0x7c) == 0x7c) {
    if (bits & 0x03) return std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    return (bits & 0x80) ? -infinity : infinity;
  }
  return small_float(bits, 2, 15);
}

float load_as_float(const std::byte* data, DType dtype, std::int64_t index) {
  switch (dtype) {
    case DType::kF32:
      return load<float>(data, index);
    case DType::kF64:
      return static_cast<float>(load<double>(data, index));
    case DType::kF16:
      return f16_to_float(load<std::uint16_t>(data, index));
    case DType::kBF16:
      return bf16_to_float(load<std::uint16_t>(data, index));
    case DType::kF8E4M3:
      return f8e4m3_to_float(load<std::uint8_t>(data, index));
    case DType::kF8E5M2:
      return f8e5m2_to_float(load<std::uint8_t>(data, index));
    default:
      PINION_ASSERT(false);
      return 0;
  }
}

void to_float(const std::byte* data, DType dtype, std::int64_t count, float* out) {
  switch (dtype) {
    case DType::kF32:
      // Pointers of empty arrays may be null.
      if (count > 0) std::memcpy(out, data, static_cast<std::size_t>(count) * sizeof(float));
      return;
    case DType::kF64:
      convert_all<double>(data, count, out, [](double v) { return static_cast<float>(v); });
      return;
    case DType::kF16:
      convert_all<std::uint16_t>(data, count, out, f16_to_float);
      return;
    case DType::kBF16:
      convert_all<std::uint16_t>(data, count, out, bf16_to_float);
      return;
    case DType::kF8E4M3:
      convert_all<std::uint8_t>(data, count, out, f8e4m3_to_float);
      return;
    case DType::kF8E5M2:
      convert_all<std::uint8_t>(data, count, out, f8e5m2_to_float);
      return;
    default:
      PINION_ASSERT(false);
  }
}

void from_float(const float* data, std::int64_t count, DType dtype, std::byte* out) {
  const auto store_all = [&](auto convert) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint16_t bits = convert(data[i]);
      std::memcpy(out + i * 2, &bits, sizeof(bits));
    }
  };
  switch (dtype) {
    case DType::kF32:
      // Pointers of empty arrays may be null.
      if (count > 0) std::memcpy(out, data, static_cast<std::size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      store_all(float_to_f16);
      return;
    case DType::kBF16:
      store_all(float_to_bf16);
      return;
    default:
      PINION_ASSERT(false);
  }
}

Tensor as_float32(const Tensor& tensor) {
  if (tensor.dtype() == DType::kF32) return tensor;
  Tensor converted = Tensor::empty(DType::kF32, tensor.shape());
  to_float(tensor.view().data, tensor.dtype(), tensor.elements(),
           reinterpret_cast<float*>(converted.mutable_data()));
  return converted;
}

Tensor converted(const Tensor& tensor, DType dtype) {
  Tensor result = Tensor::empty(dtype, tensor.shape());
  from_float(floats_of(tensor).data(), tensor.elements(), dtype, result.mutable_data());
  return result;
}

std::vector<float> floats_of(const Tensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  to_float(tensor.view().data, tensor.dtype(), tensor.elements(), values.data());
  return values;
}

}  // namespace pinion
