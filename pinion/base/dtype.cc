#include "pinion/base/dtype.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace pinion {
namespace {

struct Row {
  DType dtype;
  std::string_view name;
  std::size_t size_bytes;
  bool is_float;
};

constexpr std::array<Row, 12> kRows{{
    {DType::kF32, "F32", 4, true},
    {DType::kF16, "F16", 2, true},
    {DType::kBF16, "BF16", 2, true},
    {DType::kF8E4M3, "F8_E4M3", 1, true},
    {DType::kF8E5M2, "F8_E5M2", 1, true},
    {DType::kF64, "F64", 8, true},
    {DType::kI64, "I64", 8, false},
    {DType::kI32, "I32", 4, false},
    {DType::kI16, "I16", 2, false},
    {DType::kI8, "I8", 1, false},
    {DType::kU8, "U8", 1, false},
    {DType::kBool, "BOOL", 1, false},
}};

const Row& row(DType dtype) { return kRows[static_cast<std::size_t>(dtype)]; }

}  // namespace

std::size_t size_bytes(DType dtype) { return row(dtype).size_bytes; }
bool is_float(DType dtype) { return row(dtype).is_float; }
std::string_view name(DType dtype) { return row(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view wanted) {
  for (const Row& candidate : kRows) {
    if (candidate.name == wanted) return candidate.dtype;
  }
  return std::nullopt;
}

std::optional<DType> dtype_from_user(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  if (lower == "fp32" || lower == "float32" || lower == "f32" || lower == "float") return DType::kF32;
  if (lower == "bf16" || lower == "bfloat16") return DType::kBF16;
  if (lower == "fp16" || lower == "float16" || lower == "f16" || lower == "half") return DType::kF16;
  if (lower == "fp8" || lower == "float8_e4m3fn" || lower == "f8_e4m3") return DType::kF8E4M3;
  if (lower == "float8_e5m2" || lower == "f8_e5m2") return DType::kF8E5M2;
  return std::nullopt;
}

std::optional<DType> dtype_from_code(std::uint8_t code) {
  if (code >= kRows.size()) return std::nullopt;
  return kRows[code].dtype;
}

}  // namespace pinion
