#pragma once
// `pinion codec encode` and `decode`: the codec on whole files.

#include <filesystem>
#include <string>

#include "pinion/cli/codec_input.h"

namespace pinion::cli {

struct EncodeFileRequest {
  CodecInputOptions input;
  std::filesystem::path out;  // .pnf
  codec::Profile profile;
};

// Returns a line that says what came of it.
Result<std::string> encode_file(const EncodeFileRequest& request);

struct DecodeFileRequest {
  std::filesystem::path in;           // .pnf
  std::filesystem::path out;          // .safetensors
  std::filesystem::path calibration;  // of calibrated frames, .pnf
  std::filesystem::path context;      // likewise, .safetensors with latents and sigmas
  Device device;
  int threads = 1;
};

// Frames of a .pnf file back to tensors.
Result<std::string> decode_file(const DecodeFileRequest& request);

}  // namespace pinion::cli
