#pragma once
// The built-in tables of docs/format.md §6.2 in the memory of a device, and classes as kernels have them.
// Immutable once made; used by any number of threads and streams.

#include "pinion/codec/cuda/cuda_memory.h"
#include "pinion/codec/cuda/index_coding_jobs.h"
#include "pinion/codec/indices/index_tables.h"

namespace pinion::codec::cuda {

// The number of a table, by shape, then scale from 1; `base` is a class without shift.
std::uint32_t index_table_number(IndexClass base);

// As index_class_code(); kNoIndexClass for scale 0.
std::uint16_t code_of_class(IndexClass index_class);

class IndexTablesOnDevice {
 public:
  // On the current device.
  Result<void> make();
  IndexCodingTables tables() const;

 private:
  DeviceMemory memory_;
};

}  // namespace pinion::codec::cuda
