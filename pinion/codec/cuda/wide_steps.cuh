#pragma once
// The steps that wide products are made of, for compute capability 9.0 alone (code for sm_90a): boxes of a
// matrix that the device copies to the shared memory of one block or of a pair of them, barriers that count
// what has come, and one multiplication of 64 x 16 by 16 x kN numbers by the four warps of a group.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace pinion::codec::cuda {

// A barrier in shared memory: a phase ends when so many have arrived and all bytes that were announced are
// there.
__device__ inline void make_barrier(std::uint32_t barrier, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// What was made is seen by the other block of the pair and by the copies.
__device__ inline void show_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// Arrives once and announces bytes.
__device__ inline void announce(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Arrives at the barrier that lies at this place in a block of the pair.
__device__ inline void arrive_there(std::uint32_t barrier, std::uint32_t block) {
  asm volatile(
      "{\n"
      ".reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
      "}" ::"r"(barrier),
      "r"(block)
      : "memory");
}

// Until the phase of that parity has ended.
__device__ inline void wait_at(std::uint32_t barrier, std::uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra over;\n"
      "bra again;\n"
      "over:\n"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

__device__ inline std::uint32_t rank_in_pair() {
  std::uint32_t rank = 0;
  asm volatile("mov.u32 %0, %cluster_ctarank;" : "=r"(rank));
  return rank;
}

// All threads of both blocks.
__device__ inline void meet_pair() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Before the first use of a map that lies in device memory.
__device__ inline void see_map(const void* map) {
  asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
}

// Starts the copy of the box of a map at (column, row) to shared memory, and arrives there with its bytes.
__device__ inline void copy_box(std::uint32_t to, const void* map, std::uint32_t column, std::uint32_t row,
                                std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], "
      "[%4];" ::"r"(to),
      "l"(map), "r"(column), "r"(row), "r"(barrier)
      : "memory");
}

// The same to the same place in both blocks of the pair.
__device__ inline void copy_box_to_pair(std::uint32_t to, const void* map, std::uint32_t column,
                                        std::uint32_t row, std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(map), "r"(column), "r"(row), "r"(barrier), "h"(static_cast<std::uint16_t>(3))
      : "memory");
}

// Rows of 128 bytes, one behind the other, in the order in which copies of boxes leave them: as one side of a
// multiplication.
__device__ inline std::uint64_t side_at(std::uint32_t address) {
  constexpr std::uint64_t kRows8 = std::uint64_t{1024 >> 4} << 32, kSwizzled = std::uint64_t{1} << 62;
  return (address & 0x3ffff) >> 4 | std::uint64_t{1} << 16 | kRows8 | kSwizzled;
}

__device__ inline void begin_multiplications() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void end_multiplications() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until no more than the last kPending groups of multiplications are under way.
template <int kPending>
__device__ void wait_for_multiplications() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

template <class Number, std::uint32_t kN>
struct Multiplication;

#define PINION_SUMS_8(i)                                                                            \
  "+f"(to[i]), "+f"(to[i + 1]), "+f"(to[i + 2]), "+f"(to[i + 3]), "+f"(to[i + 4]), "+f"(to[i + 5]), \
      "+f"(to[i + 6]), "+f"(to[i + 7])
#define PINION_SUMS_64(i)                                                               \
  PINION_SUMS_8(i), PINION_SUMS_8(i + 8), PINION_SUMS_8(i + 16), PINION_SUMS_8(i + 24), \
      PINION_SUMS_8(i + 32), PINION_SUMS_8(i + 40), PINION_SUMS_8(i + 48), PINION_SUMS_8(i + 56)
#define PINION_NAMES_72                                                                             \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, " \
  "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, " \
  "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, " \
  "%59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71"
#define PINION_NAMES_128                                                                                \
  PINION_NAMES_72                                                                                       \
  ", "                                                                                                  \
  "%72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, "     \
  "%91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, " \
  "%109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, "    \
  "%125, %126, %127"

// to = x y, or to + x y: `adds` says so. The sums of a thread are those that one of mma.sync has, for every
// eight columns.
#define PINION_MULTIPLICATION(kNumber, name, kColumns, names, x_name, y_name, adds_name, ...)            \
  template <>                                                                                            \
  struct Multiplication<kNumber, kColumns> {                                                             \
    __device__ static void run(float (&to)[kColumns / 2], std::uint64_t x, std::uint64_t y, bool adds) { \
      asm volatile(                                                                                      \
          "{\n"                                                                                          \
          ".reg .pred adds;\n"                                                                           \
          "setp.ne.b32 adds, " adds_name                                                                 \
          ", 0;\n"                                                                                       \
          "wgmma.mma_async.sync.aligned.m64n" #kColumns "k16.f32." name "." name " {" names "}, " x_name \
          ", " y_name                                                                                    \
          ", adds, 1, 1, 0, 0;\n"                                                                        \
          "}"                                                                                            \
          : __VA_ARGS__                                                                                  \
          : "l"(x), "l"(y), "r"(static_cast<std::uint32_t>(adds)));                                      \
    }                                                                                                    \
  };
PINION_MULTIPLICATION(__nv_bfloat16, "bf16", 144, PINION_NAMES_72, "%72", "%73", "%74", PINION_SUMS_64(0),
                      PINION_SUMS_8(64))
PINION_MULTIPLICATION(__half, "f16", 144, PINION_NAMES_72, "%72", "%73", "%74", PINION_SUMS_64(0),
                      PINION_SUMS_8(64))
PINION_MULTIPLICATION(__half, "f16", 256, PINION_NAMES_128, "%128", "%129", "%130", PINION_SUMS_64(0),
                      PINION_SUMS_64(64))
#undef PINION_MULTIPLICATION
#undef PINION_NAMES_128
#undef PINION_NAMES_72
#undef PINION_SUMS_64
#undef PINION_SUMS_8

// Registers of a warp's threads, by all of its group of four.
template <int kCount>
__device__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

}  // namespace pinion::codec::cuda
