#pragma once
// A checkpoint's tensors as another file layout names and cuts them.

#include <map>

#include "pinion/models/checkpoint.h"

namespace pinion::models {

struct Relaid {
  TensorList tensors;                           // views of the source file where nothing had to be joined
  std::map<std::string, std::string> metadata;  // of the new file
};

// `target` wants the same canonical tensors as the checkpoint has, in the layout to be made. Scaled fp8
// weights keep their scale in ComfyUI's current style if one scale covers a whole tensor; kUnsupported
// otherwise.
Result<Relaid> relay(const Checkpoint& checkpoint, const std::vector<WantedGroup>& target);

}  // namespace pinion::models
