#include "pinion/base/tensor.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace pinion {

Shape::Shape(std::initializer_list<std::int64_t> extents)
    : Shape(std::span<const std::int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const std::int64_t> extents) : rank_(extents.size()) {
  PINION_ASSERT(extents.size() <= kMaxRank);
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : extents()) product *= extent;
  return product;
}

bool Shape::operator==(const Shape& other) const {
  return std::equal(extents().begin(), extents().end(), other.extents().begin(), other.extents().end());
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (const std::int64_t extent : shape.extents()) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(extent);
  }
  return text + "]";
}

Tensor Tensor::empty(DType dtype, const Shape& shape) {
  constexpr std::size_t kAlignment = 64;
  Tensor tensor;
  tensor.view_ = {nullptr, dtype, shape, Device{}};
  const std::size_t rounded = (tensor.bytes() / kAlignment + 1) * kAlignment;
  void* storage = std::aligned_alloc(kAlignment, rounded);
  if (storage == nullptr) throw std::bad_alloc();
  tensor.owner_ =
      std::shared_ptr<const void>(storage, [](const void* p) { std::free(const_cast<void*>(p)); });
  tensor.view_.data = static_cast<const std::byte*>(storage);
  tensor.writable_ = true;
  return tensor;
}

Tensor Tensor::copy_of(const TensorView& view) {
  Tensor tensor = empty(view.dtype, view.shape);
  const ByteSpan from = view.span();
  std::copy(from.begin(), from.end(), tensor.mutable_data());
  return tensor;
}

Tensor Tensor::from_floats(std::span<const float> values, const Shape& shape) {
  PINION_ASSERT(static_cast<std::int64_t>(values.size()) == shape.elements());
  return copy_of({reinterpret_cast<const std::byte*>(values.data()), DType::kF32, shape, Device{}});
}

Tensor Tensor::wrap(const TensorView& view, std::shared_ptr<const void> owner) {
  Tensor tensor;
  tensor.view_ = view;
  tensor.owner_ = std::move(owner);
  return tensor;
}

Tensor Tensor::reshaped(const Shape& shape) const {
  PINION_ASSERT(shape.elements() == elements());
  Tensor other = *this;
  other.view_.shape = shape;
  return other;
}

const Tensor* find(const TensorList& tensors, std::string_view name) {
  for (const NamedTensor& entry : tensors) {
    if (entry.name == name) return &entry.tensor;
  }
  return nullptr;
}

}  // namespace pinion
