#pragma once
// Kernels of a series that begin to start before the one in front of them has ended, where the device can do
// that (compute capability 9.0): what a start costs is hidden then.

#include <cuda_runtime.h>

#include <cstddef>
#include <map>
#include <utility>

namespace pinion::codec::cuda {

// The first statement of every kernel that start_behind() starts: waits for all that is before it on the
// stream. To let the next one be started here already, before blocks begin to end, was measured: it costs 2
// %.
__device__ inline void wait_for_earlier_work() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Whether the device can do that and the kernel waits: not if it was translated, for such a device, from code
// for less than 9.0, whose __CUDA_ARCH__ it has.
inline bool starts_overlap(const void* kernel) {
  int device = 0;
  cudaGetDevice(&device);
  thread_local std::map<std::pair<const void*, int>, bool> known;
  const auto [entry, is_new] = known.try_emplace({kernel, device}, false);
  if (is_new) {
    int major = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaFuncAttributes code{};
    entry->second =
        major >= 9 && cudaFuncGetAttributes(&code, kernel) == cudaSuccess && code.ptxVersion >= 90;
  }
  return entry->second;
}

template <class... Arguments>
void start_behind(void (*kernel)(Arguments...), dim3 grid, dim3 block, std::size_t shared_bytes,
                  cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = starts_overlap(reinterpret_cast<const void*>(kernel)) ? 1 : 0;
  cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace pinion::codec::cuda
