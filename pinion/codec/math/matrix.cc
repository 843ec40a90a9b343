#include "pinion/codec/math/matrix.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace pinion::codec {
namespace {

constexpr std::size_t kDepth = 256;      // of a packed panel: its rows stay in the first-level cache
constexpr std::size_t kPanelRows = 192;  // of the packed left side: it stays in the second-level cache
constexpr std::size_t kPanelColumns = 1024;

template <std::size_t kColumns>
struct VectorOf {
  typedef float Type __attribute__((vector_size(kColumns * sizeof(float)), aligned(4)));
};

// One register tile: c[kM][kVectors * kLanes] += sum over k of a[k][kM]
// b[k][...], both packed.
template <std::size_t kM, std::size_t kVectors, std::size_t kLanes>
__attribute__((always_inline)) inline void tile(const float* a, const float* b, std::size_t depth, float* c,
                                                std::size_t stride) {
  using Vector = typename VectorOf<kLanes>::Type;
  Vector sums[kM][kVectors] = {};
  for (std::size_t k = 0; k < depth; ++k) {
    Vector right[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) std::memcpy(&right[v], b + v * kLanes, sizeof(Vector));
    for (std::size_t i = 0; i < kM; ++i) {
      for (std::size_t v = 0; v < kVectors; ++v) sums[i][v] += a[i] * right[v];
    }
    a += kM;
    b += kVectors * kLanes;
  }
  for (std::size_t i = 0; i < kM; ++i) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      Vector old;
      std::memcpy(&old, c + i * stride + v * kLanes, sizeof(Vector));
      old += sums[i][v];
      std::memcpy(c + i * stride + v * kLanes, &old, sizeof(Vector));
    }
  }
}

// Packs rows [k, k + depth) x columns [begin, begin + count) of `from` into
// strips of kWidth columns, padded with zeros.
template <std::size_t kWidth>
void pack(const Matrix& from, std::size_t k, std::size_t depth, std::size_t begin, std::size_t count,
          float* out) {
  for (std::size_t strip = 0; strip < count; strip += kWidth) {
    const std::size_t width = std::min(kWidth, count - strip);
    for (std::size_t i = 0; i < depth; ++i, out += kWidth) {
      const float* source = from.values.data() + (k + i) * from.columns + begin + strip;
      std::copy(source, source + width, out);
      std::fill(out + width, out + kWidth, 0.0f);
    }
  }
}

struct Panel {
  const float* a;
  const float* b;
  std::size_t depth;
  std::size_t rows;  // multiples of the tile, padding included
  std::size_t columns;
  float* c;
  std::size_t stride;
};

template <std::size_t kM, std::size_t kVectors, std::size_t kLanes>
__attribute__((always_inline)) inline void run_panel(const Panel& panel) {
  constexpr std::size_t kN = kVectors * kLanes;
  for (std::size_t j = 0; j < panel.columns; j += kN) {
    for (std::size_t i = 0; i < panel.rows; i += kM) {
      tile<kM, kVectors, kLanes>(panel.a + i * panel.depth, panel.b + j * panel.depth, panel.depth,
                                 panel.c + i * panel.stride + j, panel.stride);
    }
  }
}

void run_portable(const Panel& panel) { run_panel<4, 2, 4>(panel); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) void run_avx2(const Panel& panel) { run_panel<6, 2, 8>(panel); }
__attribute__((target("avx512f"))) void run_avx512(const Panel& panel) { run_panel<12, 2, 16>(panel); }
#endif

template <std::size_t kM, std::size_t kN>
void multiply_blocked(const Matrix& a, const Matrix& b, void (*run)(const Panel&), Matrix& c) {
  const auto round_up = [](std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; };
  // Tiles write whole, so the product is collected with padding.
  const std::size_t stride = round_up(c.columns, kN);
  std::vector<float> padded(round_up(c.rows, kM) * stride);
  std::vector<float> packed_a(kDepth * round_up(kPanelRows, kM));
  std::vector<float> packed_b(kDepth * round_up(kPanelColumns, kN));
  for (std::size_t n = 0; n < c.columns; n += kPanelColumns) {
    const std::size_t columns = std::min(kPanelColumns, c.columns - n);
    for (std::size_t k = 0; k < a.rows; k += kDepth) {
      const std::size_t depth = std::min(kDepth, a.rows - k);
      pack<kN>(b, k, depth, n, columns, packed_b.data());
      for (std::size_t m = 0; m < c.rows; m += kPanelRows) {
        const std::size_t rows = std::min(kPanelRows, c.rows - m);
        pack<kM>(a, k, depth, m, rows, packed_a.data());
        run({packed_a.data(), packed_b.data(), depth, round_up(rows, kM), round_up(columns, kN),
             padded.data() + m * stride + n, stride});
      }
    }
  }
  for (std::size_t r = 0; r < c.rows; ++r)
    std::copy_n(padded.data() + r * stride, c.columns, c.row(r).data());
}

}  // namespace

Matrix transpose(const Matrix& a) {
  constexpr std::size_t kBlock = 32;
  Matrix t(a.columns, a.rows);
  for (std::size_t r = 0; r < a.rows; r += kBlock) {
    for (std::size_t c = 0; c < a.columns; c += kBlock) {
      for (std::size_t i = r; i < std::min(a.rows, r + kBlock); ++i) {
        for (std::size_t j = c; j < std::min(a.columns, c + kBlock); ++j) {
          t.values[j * a.rows + i] = a.values[i * a.columns + j];
        }
      }
    }
  }
  return t;
}

Matrix multiply_transposed(const Matrix& a, const Matrix& b, CpuPath path) {
  PINION_ASSERT(a.rows == b.rows && has_cpu_path(path));
  Matrix c(a.columns, b.columns);
  if (c.empty() || a.rows == 0) return c;
  switch (path) {
#if defined(__x86_64__)
    case CpuPath::kAvx512:
      multiply_blocked<12, 32>(a, b, run_avx512, c);
      break;
    case CpuPath::kAvx2:
      multiply_blocked<6, 16>(a, b, run_avx2, c);
      break;
#endif
    default:
      multiply_blocked<4, 8>(a, b, run_portable, c);
  }
  return c;
}

float dot(std::span<const float> a, std::span<const float> b) {
  std::array<double, 4> sums{};
  for (std::size_t i = 0; i < a.size(); ++i) sums[i % 4] += static_cast<double>(a[i]) * b[i];
  return static_cast<float>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

double energy(std::span<const float> values) {
  double sums[4] = {};
  std::size_t i = 0;
  for (; i + 4 <= values.size(); i += 4) {
    for (std::size_t j = 0; j < 4; ++j) sums[j] += static_cast<double>(values[i + j]) * values[i + j];
  }
  for (; i < values.size(); ++i) sums[0] += static_cast<double>(values[i]) * values[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace pinion::codec
