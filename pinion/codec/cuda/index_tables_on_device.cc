#include "pinion/codec/cuda/index_tables_on_device.h"

#include <vector>

#include "pinion/codec/entropy/rans_lanes.h"

namespace pinion::codec::cuda {
namespace {

constexpr std::size_t kEntries = std::size_t{kIndexTables} * kIndexSymbols;
constexpr std::size_t kAllSlots = std::size_t{kIndexTables} * kIndexSlots;

struct HostTables {
  std::vector<uint2> entries = std::vector<uint2>(kEntries);
  std::vector<std::uint32_t> slots = std::vector<std::uint32_t>(kAllSlots);
  std::vector<std::uint8_t> halves = std::vector<std::uint8_t>(kIndexTables);
};

void fill_table(std::uint32_t number, const Frequencies& frequencies, HostTables& tables) {
  tables.halves[number] = static_cast<std::uint8_t>(frequencies.size() / 2 - 1);
  std::uint32_t start = 0;
  for (std::uint32_t symbol = 0; symbol < frequencies.size(); ++symbol) {
    const std::uint32_t f = frequencies[symbol];
    tables.entries[number * kIndexSymbols + symbol] = {lane_reciprocal(f), f | start << 16};
    for (std::uint32_t i = 0; i < f; ++i)
      tables.slots[std::size_t{number} * kIndexSlots + start + i] = symbol | f << 8 | i << 20;
    start += f;
  }
}

}  // namespace

std::uint32_t index_table_number(IndexClass base) {
  std::uint32_t number = base.scale - 1u;
  for (int shape = 0; shape < base.shape; ++shape) number += static_cast<std::uint32_t>(base_scales(shape));
  PINION_ASSERT(number < kIndexTables);
  return number;
}

std::uint16_t code_of_class(IndexClass index_class) {
  if (index_class.scale == 0) return kNoIndexClass;
  const SplitClass split = split_class(index_class);
  return index_class_code(index_table_number(split.base), static_cast<std::uint32_t>(split.shift));
}

Result<void> IndexTablesOnDevice::make() {
  HostTables tables;
  for (std::uint8_t shape = 0; shape < kShapes; ++shape) {
    for (int scale = 1; scale <= base_scales(shape); ++scale) {
      const IndexClass base{shape, static_cast<std::uint8_t>(scale)};
      fill_table(index_table_number(base), index_frequencies(base), tables);
    }
  }
  PINION_TRY_VOID(memory_.reserve(kEntries * sizeof(uint2) + kAllSlots * 4 + kIndexTables));
  std::byte* to = memory_.data();
  const auto send = [&to](const auto& from) {
    const std::size_t bytes = from.size() * sizeof(from[0]);
    const cudaError_t status = cudaMemcpy(to, from.data(), bytes, cudaMemcpyHostToDevice);
    to += bytes;
    return check(status, "cannot copy tables");
  };
  PINION_TRY_VOID(send(tables.entries));
  PINION_TRY_VOID(send(tables.slots));
  return send(tables.halves);
}

IndexCodingTables IndexTablesOnDevice::tables() const {
  const std::byte* const slots = memory_.data() + kEntries * sizeof(uint2);
  return {reinterpret_cast<const uint2*>(memory_.data()), reinterpret_cast<const std::uint32_t*>(slots),
          reinterpret_cast<const std::uint8_t*>(slots + kAllSlots * 4)};
}

}  // namespace pinion::codec::cuda
