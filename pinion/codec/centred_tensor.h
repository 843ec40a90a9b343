#pragma once
// A tensor made ready for coding in mode 2: as floats, and about its means. Pure functions.

#include <memory>
#include <vector>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/chunk_pool.h"
#include "pinion/codec/math/matrix.h"

namespace pinion::codec {

struct CentredTensor {
  Matrix values;                       // [rows, channels] as they are
  std::shared_ptr<Matrix> transposed;  // [channels, rows], without the means
  std::vector<double> means;           // [channels]
  double energy = 0;                   // mean squared length of a row about the means
};

// kInvalidArgument if a value is NaN or infinite; `centred` then means nothing. The tensor is on the CPU, of
// a type that mode 2 allows. Threads of the pool share the rows; memory of `centred` is used again.
Result<void> centre(const TensorView& tensor, ChunkPool& pool, CentredTensor& centred);

}  // namespace pinion::codec
