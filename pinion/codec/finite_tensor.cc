#include "pinion/codec/finite_tensor.h"

#include <bit>
#include <cstring>
#include <limits>

namespace pinion::codec {
namespace {

// How a float type tells its values apart by their bits without the sign: up to `largest` they are finite.
// The number above is infinity, if the type has one; what is left are NaN.
template <class Bits>
struct FloatForm {
  Bits largest;
  bool has_infinity = true;

  static constexpr Bits kMagnitude = static_cast<Bits>(~(Bits{1} << (8 * sizeof(Bits) - 1)));

  bool is_finite(Bits bits) const { return (bits & kMagnitude) <= largest; }
  Bits finite(Bits bits) const {
    const bool is_infinite = has_infinity && (bits & kMagnitude) == static_cast<Bits>(largest + 1);
    return is_infinite ? static_cast<Bits>((bits & ~kMagnitude) | largest) : Bits{0};
  }
};

template <class Bits>
FiniteTensor with_form(const Tensor& tensor, const FloatForm<Bits>& form) {
  const auto load = [](const std::byte* from) {
    Bits bits;
    std::memcpy(&bits, from, sizeof bits);
    return bits;
  };
  const auto elements = static_cast<std::size_t>(tensor.elements());
  const std::byte* const from = tensor.view().data;
  FiniteTensor result{tensor, 0};
  for (std::size_t i = 0; i < elements; ++i) {
    if (!form.is_finite(load(from + i * sizeof(Bits)))) ++result.changed;
  }
  if (result.changed == 0) return result;
  result.tensor = Tensor::copy_of(tensor);
  std::byte* const to = result.tensor.mutable_data();
  for (std::size_t i = 0; i < elements; ++i) {
    const Bits bits = load(from + i * sizeof(Bits));
    if (form.is_finite(bits)) continue;
    const Bits finite = form.finite(bits);
    std::memcpy(to + i * sizeof(Bits), &finite, sizeof finite);
  }
  return result;
}

}  // namespace

FiniteTensor make_finite(const Tensor& tensor) {
  PINION_ASSERT(tensor.device().is_cpu());
  switch (tensor.dtype()) {
    case DType::kF64:
      return with_form<std::uint64_t>(tensor,
                                      {std::bit_cast<std::uint64_t>(std::numeric_limits<double>::max())});
    case DType::kF32:
      return with_form<std::uint32_t>(tensor,
                                      {std::bit_cast<std::uint32_t>(std::numeric_limits<float>::max())});
    case DType::kF16:
      return with_form<std::uint16_t>(tensor, {0x7bff});
    case DType::kBF16:
      return with_form<std::uint16_t>(tensor, {0x7f7f});
    case DType::kF8E4M3:
      return with_form<std::uint8_t>(tensor, {0x7e, false});
    case DType::kF8E5M2:
      return with_form<std::uint8_t>(tensor, {0x7b});
    default:
      return {tensor, 0};
  }
}

}  // namespace pinion::codec
