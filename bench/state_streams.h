#pragma once
// The streams of hidden states in a captured .safetensors file: tensors "<cut>.<rows>.t<step>", such as
// "cut3.image.t0". Steps are views into the mapped file and keep it open. Reading is thread-safe.

#include <filesystem>
#include <string>
#include <vector>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/planes/picture_layout.h"

namespace pinion::bench {

struct StateStream {
  std::string file;           // without folder and ending
  std::string cut;            // "cut3"
  std::string rows;           // "image" or "text"
  codec::TokenGrid grid;      // text rows have no picture and get the squarest grid there is
  std::vector<Tensor> steps;  // at least one; [rows, channels] of one float type and shape
};

// All streams of the file, by name. Image grids come from the file's "width" and "height" (16 pixels a
// token).
Result<std::vector<StateStream>> load_state_streams(const std::filesystem::path& path);

// Cosine of `original` and `other`, each minus its own mean per channel (last axis), over all elements.
// Equal sizes. 0 if either is constant in every channel.
double centred_cosine(std::span<const float> original, std::span<const float> other, std::size_t channels);

// The signal-to-noise ratio in dB that goes with a cosine below 1, for the best gain: -10 log10(1 - cos^2).
double snr_db_of_cosine(double cosine);

}  // namespace pinion::bench
