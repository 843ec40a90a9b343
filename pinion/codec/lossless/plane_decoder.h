#pragma once
// Turns a section of a frame (docs/format.md §5.2) back into planes, chunk by chunk over a pool's threads.
// Scratch is kept for the next frame. One object is used by one thread at a time.

#include <functional>

#include "pinion/codec/chunk_pool.h"
#include "pinion/codec/entropy/byte_coder.h"
#include "pinion/codec/lossless/byte_planes.h"

namespace pinion::codec {

class PlaneDecoder {
 public:
  explicit PlaneDecoder(ChunkPool& pool, CpuPath path = best_cpu_path()) : pool_(pool), path_(path) {}

  struct Chunk {
    std::size_t begin = 0, count = 0;  // in elements
  };
  struct Hooks {
    // Writes the contexts of a chunk's elements; only for forms that have contexts.
    std::function<void(const Chunk& chunk, std::uint8_t* out)> contexts;
    // Takes a chunk of all planes, the highest first, in any order of chunks and from any thread.
    std::function<void(const Chunk& chunk, const std::uint8_t* const* planes)> take;
  };

  // An error leaves some chunks untaken.
  Result<void> decode(const PlanesForm& form, ByteSpan section, const Hooks& hooks);

 private:
  struct WorkerScratch {
    std::vector<std::uint8_t> planes, contexts, classes;
  };

  ChunkPool& pool_;
  CpuPath path_;
  std::vector<ByteDecodeTables> tables_;  // of each plane
  std::vector<WorkerScratch> workers_;
};

}  // namespace pinion::codec
