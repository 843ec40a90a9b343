#pragma once
// What the kernels of mode 2 (docs/format.md §6) work on. Plain data; all pointers are to device memory where
// nothing else is said.

#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "pinion/codec/cuda/decode_jobs.h"
#include "pinion/codec/cuda/index_coding_jobs.h"

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kReferences = 2;  // at most

// Components or means of earlier frames.
struct ReferenceOnDevice {
  const std::int32_t* values = nullptr;
  std::uint32_t components = 0;  // that it has
};

// From residuals to the state (§6.4).
struct FidelityAdvance {
  std::uint32_t rows = 0, channels = 0, components = 0, references = 0;
  const IndexGrid* grid = nullptr;
  const std::uint16_t* classes = nullptr;  // [components, bands]
  const std::uint8_t* offsets = nullptr;   // likewise: one | more << 4
  const std::int32_t* factors = nullptr;   // [components, kReferences]: coefficient times ratio
  const std::uint32_t* row_at =
      nullptr;  // of each place in coded order; null if that is the order of the rows
  const std::int32_t* residuals = nullptr;       // [components, rows], in coded order
  ReferenceOnDevice before[kReferences];         // [components, rows]
  std::int32_t* state = nullptr;                 // [components, rows]
  std::int64_t mean_factor = 0;                  // coefficient times ratio
  std::uint32_t mean_shift = 0;                  // by which products with it are shifted down
  const std::int32_t* mean_residuals = nullptr;  // [channels]; null if all are 0
  const std::int32_t* means_before = nullptr;
  std::int32_t* means = nullptr;     // [channels]
  std::uint32_t* largest = nullptr;  // size of a component, 0 at first
  DecodeOutcome* outcome = nullptr;
};

// A basis as products take it: a row for each channel, of its coefficient in each component. They are scaled
// by a power of two of the channel's own so that two parts hold them (docs/cuda.md).
struct BasisOnDevice {
  // [channels, 2 * pitch], each coefficient twice: for both parts of the state. The second is null if the
  // first is exact.
  const __half* parts[2] = {};
  const float* scales = nullptr;  // [channels]: what a scaled coefficient is to be multiplied with
  const float* plain = nullptr;   // [components, channels]
  std::uint32_t components = 0, pitch = 0;
  bool fits = false;  // the parts hold it; else the plain one is used
};

// From the state to the tensor (§6.5).
struct FidelityRebuild {
  std::uint32_t rows = 0, channels = 0, components = 0;
  const std::int32_t* state = nullptr;
  const std::int32_t* means = nullptr;
  float unit = 0, mean_unit = 0;
  BasisOnDevice basis;
  bool has_basis = false;
  const std::uint32_t* largest = nullptr;
  __half* turned = nullptr;            // [rows, 2 * pitch]: the state in two parts, one behind the other
  std::uint32_t* with_rest = nullptr;  // up to which component the second part has any, 0 at first
  std::uint32_t pitch = 0;             // the basis's, of numbers
  std::uint8_t dtype = 0;
  std::byte* out = nullptr;
  DecodeOutcome* outcome = nullptr;
  DecodeOutcome* outcome_on_host = nullptr;  // the last kernel tells
};

// Copies what the host wrote for the kernels behind it (a multiple of 16 bytes), and clears two numbers.
void launch_receiving(const std::byte* on_host, std::byte* to, std::size_t bytes, std::uint32_t* cleared,
                      cudaStream_t stream);
void launch_fidelity_advance(const FidelityAdvance& job, cudaStream_t stream);
// Of the components alone, of which there are some.
void launch_component_advance(const FidelityAdvance& job, cudaStream_t stream);
void launch_fidelity_rebuilding(const FidelityRebuild& job, const DeviceRoom& room, cudaStream_t stream);
// Once for each device, before that.
cudaError_t allow_product_memory(const DeviceRoom& room);

}  // namespace pinion::codec::cuda
