#pragma once
// What libtorch and the NVIDIA driver offer on this machine; for `pinion doctor`. Thread-safe; no torch
// types.

#include <cstddef>
#include <string>
#include <vector>

namespace pinion::models {

struct TorchSummary {
  std::string version;    // "2.13.0"
  bool has_cuda = false;  // built with CUDA
  int cuda_devices = 0;   // that libtorch can use
  int threads = 0;        // it computes with on the CPU
};

TorchSummary describe_torch();

struct CudaDeviceSummary {
  std::string name;
  std::size_t total_bytes = 0;
};

// What the driver says, whether or not libtorch was built with CUDA. No driver: version 0, no device.
struct CudaDriverSummary {
  int version = 0;  // newest CUDA it runs, 13000 for 13.0
  std::vector<CudaDeviceSummary> devices;
};

CudaDriverSummary describe_cuda_driver();

}  // namespace pinion::models
