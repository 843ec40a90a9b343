#pragma once
// `pinion codec encode`, `decode` and `info`: the codec on whole files.

#include <filesystem>
#include <string>

#include "pinion/codec/codec.h"

namespace pinion::cli {

struct EncodeFileRequest {
  std::filesystem::path in;   // .safetensors
  std::filesystem::path out;  // .pnf
  codec::Profile profile;
  bool sequences = false;  // see codec_sequence.h
};

// Returns a line that says what came of it.
Result<std::string> encode_file(const EncodeFileRequest& request);

// Frames of a .pnf file back to tensors.
Result<std::string> decode_file(const std::filesystem::path& in, const std::filesystem::path& out);

// What a .pnf file holds: a table, or with `json` an array of frames.
Result<std::string> describe_file(const std::filesystem::path& in, bool json);

}  // namespace pinion::cli
