#pragma once
// `pinion codec bench`: what each mode makes of the tensors of a file, and how fast.

#include <string>
#include <vector>

#include "pinion/cli/codec_input.h"

namespace pinion::cli {

struct CodecBenchRequest {
  CodecInputOptions input;
  std::vector<codec::Profile> profiles;
};

struct CodecBenchRow {
  std::string tensor;
  codec::Profile profile;
  DType dtype = DType::kF32;
  Shape shape;
  std::int64_t made_finite = 0;  // elements
  Device device;
  codec::FrameStats stats;
  double encode_ms = 0;
  double decode_ms = 0;
};

// Encodes, decodes and compares every tensor in every mode; an error names file and tensor.
Result<std::vector<CodecBenchRow>> bench_codec(const CodecBenchRequest& request);

std::string bench_table(const std::vector<CodecBenchRow>& rows);
std::string bench_json(const std::vector<CodecBenchRow>& rows);

}  // namespace pinion::cli
