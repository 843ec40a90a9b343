#include "pinion/models/devices.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <array>
#include <memory>

namespace pinion::models {
namespace {

// The driver's C interface, loaded at run time: a machine without a driver has no libcuda.so.1.
class DriverLibrary {
 public:
  DriverLibrary() : handle_(::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL), &::dlclose) {}

  // Calls a driver function; false if it is not there or reports an error.
  template <class... Args>
  bool call(const char* name, Args... args) const {
    if (handle_ == nullptr) return false;
    const auto function = reinterpret_cast<int (*)(Args...)>(::dlsym(handle_.get(), name));
    return function != nullptr && function(args...) == 0;
  }

 private:
  std::unique_ptr<void, int (*)(void*)> handle_;
};

}  // namespace

TorchSummary describe_torch() {
  const at::CUDAHooksInterface& cuda = at::detail::getCUDAHooks();
  TorchSummary summary{
      .version = TORCH_VERSION, .has_cuda = cuda.hasCUDART(), .threads = at::get_num_threads()};
  if (summary.has_cuda) summary.cuda_devices = static_cast<int>(cuda.deviceCount());
  return summary;
}

CudaDriverSummary describe_cuda_driver() {
  const DriverLibrary driver;
  CudaDriverSummary summary;
  int count = 0;
  if (!driver.call("cuInit", 0u) || !driver.call("cuDriverGetVersion", &summary.version) ||
      !driver.call("cuDeviceGetCount", &count)) {
    return summary;
  }
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    int device = 0;
    std::array<char, 128> name{};
    CudaDeviceSummary found;
    if (driver.call("cuDeviceGet", &device, ordinal) &&
        driver.call("cuDeviceGetName", name.data(), static_cast<int>(name.size()), device) &&
        driver.call("cuDeviceTotalMem_v2", &found.total_bytes, device)) {
      found.name = name.data();
      summary.devices.push_back(std::move(found));
    }
  }
  return summary;
}

}  // namespace pinion::models
