#pragma once
// What an encoder does with a plane: raw, constant, or coded under how many classes of channels or contexts.
// The same plane always gives the same choice. Not thread-safe beyond the pool that it is given.

#include <array>
#include <span>

#include "pinion/codec/chunk_pool.h"
#include "pinion/codec/lossless/byte_planes.h"

namespace pinion::codec {

// Classes of contexts, as fine as they get.
struct ContextClasses {
  std::vector<std::uint8_t> of_context;  // of each of the 256, below kMaxByteClasses
  const std::uint8_t* of_element;        // of each element, by its context
};

// A good choice of ContextClasses::of_context for planes of which this is the highest. `contexts` is of each
// element.
std::vector<std::uint8_t> choose_context_classes(std::span<const std::uint8_t> plane,
                                                 const std::uint8_t* contexts);

struct PlaneInput {
  std::span<const std::uint8_t> bytes;       // of each element; not empty
  std::size_t channels = 1;                  // bytes.size() is a multiple
  const ContextClasses* contexts = nullptr;  // null: classes are of channels
  double worth_coding = 0.98;                // of the raw size; above, the plane stays raw
};

struct PlaneChoice {
  PlaneCoding coding;
  std::array<std::uint8_t, kMaxByteClasses> merged{};  // by context: the class that each of the finest became
  double coded_bits = 0;                               // about what a coded plane takes, without lane states
};

PlaneChoice choose_plane_coding(const PlaneInput& plane, ChunkPool& pool);

// Bits that the bytes take under one table, without it. `counts` has kMaxAlphabet entries.
double entropy_bits(std::span<const std::uint32_t> counts);

}  // namespace pinion::codec
