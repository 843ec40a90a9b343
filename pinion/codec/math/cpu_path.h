#pragma once
// The instruction sets that inner loops are built for. All give the same bits. Thread-safe, no state.

#include <initializer_list>

namespace pinion::codec {

enum class CpuPath { kPortable, kAvx2, kAvx512 };

// Whether this CPU has it.
inline bool has_cpu_path(CpuPath path) {
#if defined(__x86_64__)
  if (path == CpuPath::kAvx512) return __builtin_cpu_supports("avx512f");
  if (path == CpuPath::kAvx2) return __builtin_cpu_supports("avx2");
#endif
  return path == CpuPath::kPortable;
}

inline CpuPath best_cpu_path() {
  for (const CpuPath path : {CpuPath::kAvx512, CpuPath::kAvx2}) {
    if (has_cpu_path(path)) return path;
  }
  return CpuPath::kPortable;
}

}  // namespace pinion::codec
