#pragma once
// Element types of tensors, with the names that safetensors files use.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pinion {

// The numeric values are pinned: they stand in coded frames (docs/format.md).
enum class DType : std::uint8_t {
  kF32 = 0,
  kF16 = 1,
  kBF16 = 2,
  kF8E4M3 = 3,  // OCP E4M3 "fn": no infinities, NaN at 0x7f/0xff
  kF8E5M2 = 4,
  kF64 = 5,
  kI64 = 6,
  kI32 = 7,
  kI16 = 8,
  kI8 = 9,
  kU8 = 10,
  kBool = 11,
};

std::size_t size_bytes(DType dtype);
bool is_float(DType dtype);

// "F32", "BF16", "F8_E4M3", … as in a safetensors header.
std::string_view name(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);

// Accepts what people type as well: fp32, float32, bf16, bfloat16, f16, fp16, float16, fp8, f8_e4m3, …
std::optional<DType> dtype_from_user(std::string_view text);

// The dtype with that pinned number, if there is one.
std::optional<DType> dtype_from_code(std::uint8_t code);

}  // namespace pinion
