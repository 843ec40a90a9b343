#pragma once
// The tensors of a file as streams that any mode can code: what `pinion codec encode` and `bench` read.
//
// One object is used by one thread at a time.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pinion/cli/codec_context.h"
#include "pinion/cli/codec_ends.h"
#include "pinion/cli/codec_sequence.h"
#include "pinion/codec/step_stream.h"

namespace pinion::cli {

struct CodecInputOptions {
  std::filesystem::path in;           // .safetensors
  std::filesystem::path calibration;  // .pnf; empty: no mode is calibrated
  std::filesystem::path context;      // .safetensors with latents and sigmas; empty: `in`
  StreamChoice choice;
  bool sanitises = false;  // lossy modes refuse NaN and infinity; this gives them numbers instead
  Device device;           // that codes
  int threads = 1;         // that share the work on a tensor, on the CPU
};

class CodecInput {
 public:
  // kInvalidArgument, kModelMismatch: the files do not go together.
  static Result<CodecInput> open(CodecInputOptions options);

  const std::vector<TensorStream>& streams() const { return streams_; }

  // The sending end of a stream of streams(). kInvalidArgument: its calibration is missing; says which there
  // are.
  Result<std::unique_ptr<SendingEnd>> sender(const TensorStream& stream, const codec::Profile& profile) const;

  // The receiving end of what that sends.
  Result<std::unique_ptr<ReceivingEnd>> receiver(const TensorStream& stream,
                                                 const codec::Profile& profile) const;

  // What a stream's tensor is coded as, with its context, which is empty unless the profile is calibrated.
  struct Step {
    std::string name;
    Tensor tensor;
    std::int64_t made_finite = 0;  // elements
    codec::StepContext context;
  };
  Result<Step> step(const TensorStream& stream, std::size_t i, const codec::Profile& profile);

  // Of the tensor `name`.
  Error in_tensor(Error error, const std::string& name) const {
    return std::move(error).in(options_.in.string() + ": " + name);
  }

 private:
  CodecInput(CodecInputOptions options, SafetensorsFile file)
      : options_(std::move(options)), file_(std::move(file)) {}
  Result<std::shared_ptr<const codec::Calibration>> calibration_of(const TensorStream& stream) const;
  std::vector<codec::StepStream> step_streams(int cut) const;

  CodecInputOptions options_;
  SafetensorsFile file_;
  std::vector<TensorStream> streams_;
  codec::CalibrationSet calibrations_;
  std::optional<SequenceContext> context_;  // with calibrations
};

// Refuses a calibrated profile without a calibration, and the other way round.
Result<void> check_calibration_given(const std::vector<codec::Profile>& profiles,
                                     const std::filesystem::path& calibration);

}  // namespace pinion::cli
