#pragma once
// What the measurements on a CUDA device share: tensors there, and times by the host's clock and the
// device's.

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"

namespace pinion::bench {

struct Setting {
  int runs = 200;
  int warm_up = 20;
  bool brief = false;
};

struct OnDevice {
  TensorView view;
  void* data = nullptr;

  explicit OnDevice(const Tensor& tensor) : view(tensor.view()) {
    cudaMalloc(&data, tensor.bytes());
    cudaMemcpy(data, tensor.view().data, tensor.bytes(), cudaMemcpyHostToDevice);
    view.data = static_cast<const std::byte*>(data);
    view.device = {Device::Kind::kCuda, 0};
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { cudaFree(data); }
};

inline double at_fraction(std::vector<double> values, double fraction) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(fraction * static_cast<double>(values.size() - 1))];
}

class Timer {
 public:
  explicit Timer(cudaStream_t stream) : stream_(stream) {
    cudaEventCreate(&begin_);
    cudaEventCreate(&end_);
  }
  ~Timer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Prints a line; false if a call failed.
  template <class Call>
  bool measure(const std::string& what, std::size_t bytes, const Setting& setting, Call call) {
    std::vector<double> host, device;
    for (int run = -setting.warm_up; run < setting.runs; ++run) {
      cudaStreamSynchronize(stream_);
      const auto start = std::chrono::steady_clock::now();
      cudaEventRecord(begin_, stream_);
      if (!call(run + setting.warm_up)) return false;
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
      cudaEventRecord(end_, stream_);
      cudaEventSynchronize(end_);
      float ms = 0;
      cudaEventElapsedTime(&ms, begin_, end_);
      if (run < 0) continue;
      host.push_back(took.count());
      device.push_back(ms);
    }
    const double median = at_fraction(host, 0.5);
    fmt::print("{:47} host {:.3f} ms (p99 {:.3f}), device {:.3f} ms (p99 {:.3f}): {:.0f} GB/s\n", what,
               median, at_fraction(host, 0.99), at_fraction(device, 0.5), at_fraction(device, 0.99),
               static_cast<double>(bytes) / median / 1e6);
    return true;
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

// Says what went wrong, if something did.
template <class T>
bool is_fine(const Result<T>& result) {
  if (!result.ok()) fmt::print("error: {}\n", result.error().message());
  return result.ok();
}

}  // namespace pinion::bench
