#include "pinion/base/tensor.h"

#include <gtest/gtest.h>

#include <cstring>

namespace pinion {
namespace {

TEST(Shape, KnowsItsExtents) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3u);
  EXPECT_EQ(shape[1], 3);
  EXPECT_EQ(shape.elements(), 24);
  EXPECT_EQ(to_string(shape), "[2, 3, 4]");
  EXPECT_EQ(shape, (Shape{2, 3, 4}));
  EXPECT_FALSE(shape == (Shape{2, 3}));
  EXPECT_FALSE(shape == (Shape{2, 3, 5}));
}

TEST(Shape, ScalarHasOneElementAndEmptyHasNone) {
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ(to_string(Shape{}), "[]");
  EXPECT_EQ((Shape{3, 0, 2}).elements(), 0);
}

TEST(Tensor, EmptyIsAlignedAndWritable) {
  Tensor tensor = Tensor::empty(DType::kF32, {3, 5});
  EXPECT_EQ(tensor.bytes(), 60u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.view().data) % 64, 0u);
  std::memset(tensor.mutable_data(), 0x11, tensor.bytes());
  EXPECT_EQ(tensor.view().span()[59], std::byte{0x11});
  EXPECT_TRUE(Tensor::empty(DType::kF16, {0}).defined());
  EXPECT_FALSE(Tensor().defined());
}

TEST(Tensor, CopyDoesNotShareAndReshapeDoes) {
  const float values[] = {1, 2, 3, 4, 5, 6};
  const Tensor original = Tensor::from_floats(values, {2, 3});
  Tensor copy = Tensor::copy_of(original);
  copy.mutable_data()[0] = std::byte{0xff};
  EXPECT_NE(copy.view().data, original.view().data);
  EXPECT_EQ(std::memcmp(original.view().data, values, sizeof(values)), 0);
  const Tensor flat = original.reshaped({6});
  EXPECT_EQ(flat.view().data, original.view().data);
  EXPECT_EQ(flat.shape(), (Shape{6}));
}

TEST(Tensor, WrapKeepsTheOwnerAlive) {
  auto owner = std::make_shared<std::vector<std::byte>>(8);
  const std::weak_ptr<std::vector<std::byte>> watch = owner;
  Tensor tensor = Tensor::wrap({owner->data(), DType::kU8, {8}, Device{}}, owner);
  owner.reset();
  EXPECT_FALSE(watch.expired());
  tensor = Tensor();
  EXPECT_TRUE(watch.expired());
}

TEST(TensorList, FindsByName) {
  const TensorList list{{"image", Tensor::empty(DType::kF32, {1})},
                        {"text", Tensor::empty(DType::kF32, {2})}};
  ASSERT_NE(find(list, "text"), nullptr);
  EXPECT_EQ(find(list, "text")->shape(), (Shape{2}));
  EXPECT_EQ(find(list, "video"), nullptr);
}

}  // namespace
}  // namespace pinion
