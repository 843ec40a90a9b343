#pragma once
// The streams of a file by the names of its tensors, as `pinion generate --record` writes them:
// "cut3.image.t0" is step 0 of the stream "image" at cut 3, "velocity.t0" is of a stream that says no cut.
// "latents.tN" and "sigmas" are what both ends of a cut know (codec_context.h). Pure functions.

#include <optional>
#include <string>
#include <vector>

#include "pinion/base/safetensors.h"

namespace pinion::cli {

// "cut3.image" and 0 of "cut3.image.t0"; a name without a last ".tN" has no step.
struct StepName {
  std::string stream;
  std::optional<long> step;
};
StepName split_step(const std::string& name);

struct TensorStream {
  std::string name;                              // without the step
  std::optional<int> cut;                        // where it crosses, if the name says so,
  std::string kind;                              // and what: "image", "text", "velocity"
  std::vector<const SafetensorsEntry*> tensors;  // in order of their steps; not empty
};

// Which tensors of a file are meant, and as what streams.
struct StreamChoice {
  bool sequences = false;       // one stream per name without its step; else one for each tensor
  std::optional<int> cut;       // only streams of this cut, and those that say none, which are then of it
  std::string kind;             // only these; empty: all
  bool leaves_context = false;  // latents and sigmas are not meant
};

// In order of their names, so that a run is repeatable whatever the file's order. kInvalidArgument if
// nothing is left: says what there is.
Result<std::vector<TensorStream>> choose_streams(const SafetensorsFile& file, const StreamChoice& choice);

}  // namespace pinion::cli
