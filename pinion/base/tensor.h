#pragma once
// Tensors at the borders between folders: contiguous, row-major, on one device, no arithmetic.
//
// TensorView borrows; Tensor shares ownership of its storage (a host buffer, a mapped file, or another
// library's tensor kept alive by the handle). Reading from several threads is safe; writing is not.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pinion/base/assert.h"
#include "pinion/base/bytes.h"
#include "pinion/base/device.h"
#include "pinion/base/dtype.h"

namespace pinion {

// Up to kMaxRank extents, outermost first; a scalar has rank 0. Never allocates.
class Shape {
 public:
  static constexpr std::size_t kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);
  explicit Shape(std::span<const std::int64_t> extents);

  std::size_t rank() const { return rank_; }
  std::int64_t operator[](std::size_t axis) const {
    PINION_ASSERT(axis < rank_);
    return extents_[axis];
  }
  std::span<const std::int64_t> extents() const { return {extents_.data(), rank_}; }
  std::int64_t elements() const;  // product of the extents; 1 for a scalar
  bool operator==(const Shape& other) const;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  std::size_t rank_ = 0;
};

std::string to_string(const Shape& shape);  // "[1, 256, 128]"

struct TensorView {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;
  Device device;

  std::int64_t elements() const { return shape.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_bytes(dtype); }
  ByteSpan span() const {
    PINION_ASSERT(device.is_cpu());
    return {data, bytes()};
  }
};

class Tensor {
 public:
  Tensor() = default;

  // Uninitialised host memory, 64-byte aligned.
  static Tensor empty(DType dtype, const Shape& shape);

  // A host tensor holding a copy of `view` (which must be on the CPU).
  static Tensor copy_of(const TensorView& view);

  // A host tensor of float32 values.
  static Tensor from_floats(std::span<const float> values, const Shape& shape);

  // Wraps memory that `owner` keeps alive.
  static Tensor wrap(const TensorView& view, std::shared_ptr<const void> owner);

  bool defined() const { return view_.data != nullptr || owner_ != nullptr; }
  const TensorView& view() const { return view_; }
  operator const TensorView&() const { return view_; }
  DType dtype() const { return view_.dtype; }
  const Shape& shape() const { return view_.shape; }
  Device device() const { return view_.device; }
  std::size_t bytes() const { return view_.bytes(); }
  std::int64_t elements() const { return view_.elements(); }

  // Only for tensors made by empty(), copy_of() or from_floats(): the one who fills them.
  std::byte* mutable_data() {
    PINION_ASSERT(writable_);
    return const_cast<std::byte*>(view_.data);
  }

  // The same storage under another shape of equal element count.
  Tensor reshaped(const Shape& shape) const;

 private:
  TensorView view_;
  std::shared_ptr<const void> owner_;
  bool writable_ = false;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// A small ordered set of tensors, such as the state at a cut.
using TensorList = std::vector<NamedTensor>;

// The tensor of that name, or nullptr.
const Tensor* find(const TensorList& tensors, std::string_view name);

}  // namespace pinion
