#pragma once
// `pinion codec bench`: what each mode makes of the tensors of a file, and how fast.

#include <filesystem>
#include <string>
#include <vector>

#include "pinion/codec/codec.h"

namespace pinion::cli {

struct CodecBenchRequest {
  std::filesystem::path in;  // .safetensors
  std::vector<codec::Profile> profiles;
  bool sequences = false;  // see codec_sequence.h
};

struct CodecBenchRow {
  std::string tensor;
  std::string mode;
  DType dtype = DType::kF32;
  Shape shape;
  codec::FrameStats stats;
  double encode_ms = 0;
  double decode_ms = 0;
};

// Encodes, decodes and compares every tensor in every mode; an error names file and tensor.
Result<std::vector<CodecBenchRow>> bench_codec(const CodecBenchRequest& request);

std::string bench_table(const std::vector<CodecBenchRow>& rows);
std::string bench_json(const std::vector<CodecBenchRow>& rows);

}  // namespace pinion::cli
