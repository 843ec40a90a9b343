#pragma once
// The inner loop of all matrix products: operands packed for the registers of a CPU path.
// Thread-safe, no state; nothing is allocated.
//
// Results are the same on every machine: every sum is one chain of fused multiply-adds for each kProductDepth
// terms, in order, and these are added in order. A CPU without them (x86-64 before 2013) is slow here.

#include <cstddef>
#include <new>
#include <vector>

#include "pinion/codec/math/cpu_path.h"

namespace pinion::codec {

inline constexpr std::size_t kProductDepth = 256;

// Memory of panels begins where a cache line does: half of the loads would cross one otherwise.
template <class T>
struct PanelAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};

  PanelAllocator() = default;
  template <class Other>
  PanelAllocator(const PanelAllocator<Other>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kAlignment)); }
  void deallocate(T* values, std::size_t) { ::operator delete(values, kAlignment); }
  bool operator==(const PanelAllocator&) const { return true; }
};
using Panel = std::vector<float, PanelAllocator<float>>;

// left^T right for left [depth, m], right [depth, n]. Operands come in strips of so many columns as the path
// wants, [strip][depth][column]; the last is padded with zeros.
struct PackedProduct {
  const float* left;
  const float* right;
  std::size_t depth;
  std::size_t left_strips;
  std::size_t right_strips;
  float* out;  // rows, `stride` apart, of whole strips; the product is added to what is there
  std::size_t stride;
};

struct ProductPath {
  std::size_t left_width;   // columns of a strip
  std::size_t right_width;  // a multiple of 8
  void (*add)(const PackedProduct& product);

  std::size_t left_strips(std::size_t columns) const { return (columns + left_width - 1) / left_width; }
  std::size_t right_strips(std::size_t columns) const { return (columns + right_width - 1) / right_width; }
};

// Only where the CPU has that path.
const ProductPath& product_path(CpuPath path = best_cpu_path());

// Columns of rows of floats, `stride` apart, that become strips.
struct StripSource {
  const float* from;
  std::size_t stride;
  std::size_t depth;  // rows
  std::size_t columns;
  std::size_t width;       // of a strip
  std::size_t strip_size;  // from a strip's begin to the next one's: at least depth * width
};
void pack_strips(const StripSource& source, float* out);

}  // namespace pinion::codec
