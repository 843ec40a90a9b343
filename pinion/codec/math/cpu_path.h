#pragma once
// The instruction sets that inner loops are built for. All give the same bits. Thread-safe, no state.

#include <initializer_list>

#include "pinion/base/assert.h"

namespace pinion::codec {

enum class CpuPath { kPortable, kAvx2, kAvx512 };

// Whether this CPU has it.
inline bool has_cpu_path(CpuPath path) {
#if defined(__x86_64__)
  if (path == CpuPath::kAvx512) return __builtin_cpu_supports("avx512f");
  if (path == CpuPath::kAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return path == CpuPath::kPortable;
}

inline CpuPath best_cpu_path() {
  for (const CpuPath path : {CpuPath::kAvx512, CpuPath::kAvx2}) {
    if (has_cpu_path(path)) return path;
  }
  return CpuPath::kPortable;
}

// What was built for a path, of loops that gain nothing from more than AVX2. Only where the CPU has that
// path.
template <class Loops>
const Loops& built_for(CpuPath path, const Loops& portable, const Loops& avx2) {
  PINION_ASSERT(has_cpu_path(path));
  return path == CpuPath::kPortable ? portable : avx2;
}

// The name of a set of functions, built for AVX2 by a macro that takes its name and the attributes of its
// functions; where there is no AVX2 it is `portable`.
#if defined(__x86_64__)
#define PINION_BUILD_FOR_AVX2(macro, name, portable) macro(name, __attribute__((target("avx2"))))
#else
#define PINION_BUILD_FOR_AVX2(macro, name, portable) using name = portable
#endif

}  // namespace pinion::codec
