#include "pinion/codec/finite_tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "pinion/base/float_formats.h"

namespace pinion::codec {
namespace {

template <class Bits>
Tensor every_pattern(DType dtype) {
  constexpr std::size_t kPatterns = std::size_t{1} << (8 * sizeof(Bits));
  Tensor tensor = Tensor::empty(dtype, {static_cast<std::int64_t>(kPatterns)});
  for (std::size_t i = 0; i < kPatterns; ++i) {
    const auto bits = static_cast<Bits>(i);
    std::memcpy(tensor.mutable_data() + i * sizeof bits, &bits, sizeof bits);
  }
  return tensor;
}

void expect_finite_twin(const Tensor& before, float largest) {
  SCOPED_TRACE(name(before.dtype()));
  const FiniteTensor after = make_finite(before);
  ASSERT_EQ(after.tensor.dtype(), before.dtype());
  ASSERT_EQ(after.tensor.shape(), before.shape());
  std::int64_t changed = 0;
  for (std::int64_t i = 0; i < before.elements(); ++i) {
    const float was = load_as_float(before.view().data, before.dtype(), i);
    const float is = load_as_float(after.tensor.view().data, before.dtype(), i);
    ASSERT_TRUE(std::isfinite(is)) << i;
    ASSERT_LE(std::abs(is), largest) << i;
    if (std::isfinite(was)) {
      ASSERT_EQ(is, was);
      ASSERT_EQ(std::signbit(is), std::signbit(was)) << i;
      continue;
    }
    ++changed;
    ASSERT_EQ(is, std::isnan(was) ? 0 : std::copysign(largest, was)) << i;
  }
  EXPECT_EQ(after.changed, changed);
  EXPECT_GT(changed, 0);
}

TEST(FiniteTensor, ChangesWhatIsNotFiniteAndNothingElse) {
  expect_finite_twin(every_pattern<std::uint16_t>(DType::kF16), 65504);
  expect_finite_twin(every_pattern<std::uint16_t>(DType::kBF16), bf16_to_float(0x7f7f));
  expect_finite_twin(every_pattern<std::uint8_t>(DType::kF8E4M3), 448);
  expect_finite_twin(every_pattern<std::uint8_t>(DType::kF8E5M2), 57344);
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity(),
              max = std::numeric_limits<float>::max(), tiny = std::numeric_limits<float>::denorm_min();
  expect_finite_twin(
      Tensor::from_floats(std::vector<float>{0, -0.0f, 1, nan, -nan, inf, -inf, max, -max, tiny}, {2, 5}),
      max);
}

TEST(FiniteTensor, KnowsDoubles) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const double values[] = {1e300, -inf, nan, inf};
  Tensor tensor = Tensor::empty(DType::kF64, {4});
  std::memcpy(tensor.mutable_data(), values, sizeof values);
  const FiniteTensor after = make_finite(tensor);
  double finite[4];
  std::memcpy(finite, after.tensor.view().data, sizeof finite);
  const double max = std::numeric_limits<double>::max();
  EXPECT_EQ(after.changed, 3);
  EXPECT_EQ(finite[0], 1e300);
  EXPECT_EQ(finite[1], -max);
  EXPECT_EQ(finite[2], 0);
  EXPECT_EQ(finite[3], max);
}

TEST(FiniteTensor, SharesWhatNeedsNoChange) {
  const Tensor floats = Tensor::from_floats(std::vector<float>{1, 2, 3, 4}, {2, 2});
  EXPECT_EQ(make_finite(floats).tensor.view().data, floats.view().data);
  // The bits of an integer are not those of a float.
  const Tensor integers = every_pattern<std::uint16_t>(DType::kI16);
  EXPECT_EQ(make_finite(integers).changed, 0);
  EXPECT_EQ(make_finite(integers).tensor.view().data, integers.view().data);
  EXPECT_EQ(make_finite(Tensor::empty(DType::kF32, {0, 3})).changed, 0);
}

}  // namespace
}  // namespace pinion::codec
