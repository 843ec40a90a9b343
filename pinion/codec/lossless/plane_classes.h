#pragma once
// What an encoder does with a plane: raw, constant, or coded under how many classes of channels or contexts.
// The same plane always gives the same choice. Not thread-safe beyond the pool that it is given.

#include <span>

#include "pinion/codec/chunk_pool.h"
#include "pinion/codec/lossless/byte_planes.h"

namespace pinion::codec {

struct PlaneInput {
  std::span<const std::uint8_t> bytes;     // of each element; not empty
  std::size_t channels = 1;                // bytes.size() is a multiple
  const std::uint8_t* contexts = nullptr;  // of each element, or null: then classes are of channels
  double worth_coding = 0.98;              // of the raw size; above, the plane stays raw
};

struct PlaneChoice {
  PlaneCoding coding;
  double coded_bits = 0;  // about what a coded plane takes, without lane states
};

PlaneChoice choose_plane_coding(const PlaneInput& plane, ChunkPool& pool);

// Bits that the bytes take under one table, without it. `counts` has kMaxAlphabet entries.
double entropy_bits(std::span<const std::uint32_t> counts);

}  // namespace pinion::codec
