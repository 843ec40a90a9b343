#pragma once
// What both ends of a cut know of a recorded job's steps besides the frames: "latents.tN" [.., rows,
// channels] and "sigmas" [steps or more] of a safetensors file, as calibrated frames need them. Its metadata
// may say how the rows lie in a picture ("grid_lines", "grid_columns").
//
// One object is used by one thread at a time.

#include <map>
#include <optional>

#include "pinion/base/safetensors.h"
#include "pinion/codec/calibrated/calibrated_codec.h"

namespace pinion::cli {

class SequenceContext {
 public:
  // kInvalidArgument: the file has no sigmas.
  static Result<SequenceContext> open(const std::filesystem::path& path);

  // The context of a tensor by the name "NAME.tN", the stream's tensor before it being `before` (empty at its
  // first). kInvalidArgument: a name has no step, or something is missing. Spans live as long as this object.
  Result<codec::StepContext> at(const std::string& tensor, const std::string& before);

  // Hash of the model that the job was recorded with, hex; empty if the file does not say.
  std::string model_hash() const;

 private:
  struct Known {  // of a step
    float sigma = 0;
    std::vector<float> latents;
    std::int64_t rows = 0;
  };
  SequenceContext(SafetensorsFile file, std::vector<float> sigmas)
      : file_(std::move(file)), sigmas_(std::move(sigmas)) {}
  Result<const Known*> known(const std::string& tensor);
  codec::TokenGrid grid() const;  // 0 if the file does not say

  SafetensorsFile file_;
  std::vector<float> sigmas_;
  std::map<long, Known> steps_;  // as far as they were asked for
};

}  // namespace pinion::cli
