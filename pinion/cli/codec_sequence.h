#pragma once
// Which tensors of a file are successive steps of one stream: those whose names differ only in a last ".tN".

#include <string>
#include <vector>

#include "pinion/base/safetensors.h"

namespace pinion::cli {

struct TensorStream {
  std::string name;                              // without the step
  std::vector<const SafetensorsEntry*> tensors;  // in order of their steps
};

// With `sequences`, one stream per name without its step; otherwise every tensor is a stream of its own.
// Streams are in order of their names, so that a run is repeatable whatever the file's order.
std::vector<TensorStream> group_streams(const SafetensorsFile& file, bool sequences);

}  // namespace pinion::cli
