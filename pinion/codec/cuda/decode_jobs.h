#pragma once
// What the kernels that decode modes 1 and 3 work on. Plain data, passed to kernels by value; all pointers
// are to device memory where nothing else is said.

#include "pinion/codec/cuda/lossless_jobs.h"

namespace pinion::codec::cuda {

struct DecodePlane {
  PlaneTreatment treatment;
  std::uint32_t constant;
  std::uint32_t classes;
  bool is_coded;
  std::uint64_t raw_at;     // in the frame
  std::uint64_t chunks_at;  // of its first chunk in `places` and `sizes`
  std::uint64_t map_at;     // of its class map in `maps`: of 256 contexts, or of the channels with their ring
};

struct DecodeOutcome {
  std::uint32_t crc_sum;      // of the parts done so far
  std::uint32_t parts_done;   // blocks that check the checksum
  std::uint32_t blocks_done;  // of the last kernel
  std::uint32_t wrong_checksum;
  std::uint32_t broken;  // a chunk does not hold what it should, or a scale is impossible
  std::uint32_t serial;  // counts frames: how the host knows a new one
};

// What decoding of mode 3 (docs/format.md §9) needs besides.
struct BoundedParts {
  std::uint32_t number_bytes = 1;
  std::uint16_t step = 0;                     // if there is one
  const std::uint16_t* steps = nullptr;       // of channels and their ring; null if there is one
  std::uint64_t escapes = 0, escapes_at = 0;  // how many, and where in the frame
};

inline constexpr std::uint32_t kEscapeGroup = 1 << 13;  // elements whose escapes are counted together

struct DecodeJob {
  ElementsOf elements;  // `now` is not used
  bool is_predicted = false;
  bool is_bounded = false;
  std::uint8_t dtype = 0;
  std::uint32_t lanes = 1;
  std::uint64_t chunk_elements = 1;
  std::uint64_t chunks = 0;
  DecodePlane planes[kPlanes];
  BoundedParts bounded;

  const std::byte* frame = nullptr;
  DecodeOutcome* outcome = nullptr;
  DecodeOutcome* outcome_on_host = nullptr;  // written by the last kernel: page-locked memory
  // What the host says of the frame, in page-locked memory, and where it is copied to.
  const std::byte* parts_on_host = nullptr;
  std::byte* parts = nullptr;
  std::size_t part_bytes = 0;                          // a multiple of 16
  const std::uint16_t* frequencies_on_host = nullptr;  // [planes, classes, symbols]
  // In the copy:
  const std::uint8_t* maps = nullptr;
  const std::uint64_t* places = nullptr;
  const std::uint32_t* sizes = nullptr;

  std::uint8_t* slot_symbols = nullptr;       // [planes, classes, 4096]
  std::uint32_t* symbol_ranges = nullptr;     // [planes, classes, 256]: frequency and start
  std::uint8_t* decoded = nullptr;            // [planes, count]
  std::uint32_t* escape_masks = nullptr;      // a bit for each element
  std::uint32_t* escapes_of_group = nullptr;  // [escape_groups]
  std::uint64_t escape_groups = 0;
  std::byte* out = nullptr;  // the tensor
};

// What a device has.
struct DeviceRoom {
  std::size_t most_shared_bytes = 0;  // of a block
  std::uint32_t multiprocessors = 1;
};

}  // namespace pinion::codec::cuda
