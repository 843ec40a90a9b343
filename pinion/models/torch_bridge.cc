#include "pinion/models/torch_bridge.h"

#include <fmt/format.h>

#include "pinion/models/stage.h"

namespace pinion::models {
namespace {

struct TypePair {
  DType ours;
  at::ScalarType theirs;
};

constexpr TypePair kTypes[] = {
    {DType::kF32, at::kFloat},
    {DType::kF16, at::kHalf},
    {DType::kBF16, at::kBFloat16},
    {DType::kF8E4M3, at::kFloat8_e4m3fn},
    {DType::kF8E5M2, at::kFloat8_e5m2},
    {DType::kF64, at::kDouble},
    {DType::kI64, at::kLong},
    {DType::kI32, at::kInt},
    {DType::kI16, at::kShort},
    {DType::kI8, at::kChar},
    {DType::kU8, at::kByte},
    {DType::kBool, at::kBool},
};

}  // namespace

at::ScalarType to_torch(DType dtype) {
  for (const TypePair& pair : kTypes) {
    if (pair.ours == dtype) return pair.theirs;
  }
  PINION_ASSERT(false);
  return at::kFloat;
}

DType from_torch(at::ScalarType type) {
  for (const TypePair& pair : kTypes) {
    if (pair.theirs == type) return pair.ours;
  }
  PINION_ASSERT(false);
  return DType::kF32;
}

at::Device to_torch(Device device) {
  if (device.is_cpu()) return at::Device(at::kCPU);
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device.index));
}

Device from_torch(at::Device device) {
  if (device.is_cpu()) return Device{};
  PINION_ASSERT(device.is_cuda());
  return Device{Device::Kind::kCuda, device.has_index() ? device.index() : 0};
}

at::Tensor to_torch(const Tensor& tensor) {
  const TensorView& view = tensor.view();
  const auto options = at::TensorOptions().dtype(to_torch(view.dtype)).device(to_torch(view.device));
  // The deleter's copy of the handle is what keeps the storage alive.
  return at::from_blob(
      const_cast<std::byte*>(view.data), c10::IntArrayRef(view.shape.extents().data(), view.shape.rank()),
      [keep = tensor](void*) {}, options, to_torch(view.device));
}

Tensor from_torch(const at::Tensor& tensor) {
  auto owner = std::make_shared<at::Tensor>(tensor.contiguous());
  const auto sizes = owner->sizes();
  const Shape shape(std::span<const std::int64_t>(sizes.data(), sizes.size()));
  const TensorView view{static_cast<const std::byte*>(owner->const_data_ptr()),
                        from_torch(owner->scalar_type()), shape, from_torch(owner->device())};
  return Tensor::wrap(view, std::move(owner));
}

Result<Tensor> to_cpu(const Tensor& tensor) {
  if (tensor.device().is_cpu()) return tensor;
  return caught([&]() -> Result<Tensor> {
    const c10::InferenceMode inference;
    return from_torch(to_torch(tensor).cpu());
  });
}

Error error_from_exception(const std::exception& exception) {
  if (const auto* memory = dynamic_cast<const c10::OutOfMemoryError*>(&exception)) {
    return Error{Errc::kOutOfMemory, memory->what_without_backtrace(),
                 "use fewer blocks, a smaller picture or a smaller dtype"};
  }
  if (dynamic_cast<const std::bad_alloc*>(&exception) != nullptr) {
    return Error{Errc::kOutOfMemory, "host memory is exhausted",
                 "use fewer blocks, a smaller picture or a smaller dtype"};
  }
  if (const auto* torch = dynamic_cast<const c10::Error*>(&exception)) {
    return Error{Errc::kInternal, std::string("libtorch: ") + torch->what_without_backtrace(), ""};
  }
  return Error{Errc::kInternal, exception.what(), ""};
}

Result<void> check_device(Device device) {
  if (device.is_cpu()) return {};
  return caught([&]() -> Result<void> {
    if (!at::hasCUDA()) {
      return Error{Errc::kUnsupported,
                   "this build of libtorch finds no CUDA device, but " + name(device) + " was asked for",
                   "use --device cpu, or build against a libtorch with CUDA"};
    }
    const at::DeviceIndex count = at::detail::getCUDAHooks().deviceCount();
    if (device.index < 0 || device.index >= count) {
      return Error{Errc::kInvalidArgument,
                   fmt::format("{} does not exist: this machine has {} CUDA devices", name(device), count),
                   ""};
    }
    return {};
  });
}

}  // namespace pinion::models
