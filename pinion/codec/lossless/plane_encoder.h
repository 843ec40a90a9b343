#pragma once
// Codes planes of bytes into a section of a frame (docs/format.md §5.2), chunk by chunk over a pool's
// threads. Scratch is kept for the next frame. One object is used by one thread at a time.

#include <memory>
#include <optional>

#include "pinion/codec/entropy/byte_coder.h"
#include "pinion/codec/lossless/plane_classes.h"

namespace pinion::codec {

inline constexpr std::size_t kChunkElements = 1 << 14;

struct PlanesInput {
  std::vector<const std::uint8_t*> planes;  // of `elements` bytes each, the highest first
  std::size_t elements = 1;                 // ≥ 1
  std::size_t channels = 1;
  const std::uint8_t* contexts = nullptr;  // of each element, or null
};

class PlaneEncoder {
 public:
  explicit PlaneEncoder(ChunkPool& pool, CpuPath path = best_cpu_path()) : pool_(pool), path_(path) {}

  // The parts of the section, in order; they stay until the next call, and raw planes are those of the
  // input.
  std::vector<ByteSpan> encode(const PlanesInput& input);

 private:
  void encode_chunks(const PlanesInput& input, std::size_t plane, const PlaneChoice& choice, int lanes);
  void class_elements(const PlanesInput& input, const std::vector<std::uint8_t>& of_context);

  struct Slots {  // what the chunks of one plane became, each at the start of its slot
    std::unique_ptr<std::byte[]> bytes;
    std::size_t room = 0;
    std::vector<std::size_t> sizes;
  };

  ChunkPool& pool_;
  CpuPath path_;
  Bytes head_;
  std::vector<Slots> slots_;                       // of each plane
  std::vector<std::uint8_t> classes_;              // of each element, where there are contexts
  std::vector<std::vector<std::uint16_t>> words_;  // of each worker
};

}  // namespace pinion::codec
