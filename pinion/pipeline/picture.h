#pragma once
// Pictures as people keep them: 8-bit RGB, PNG files with the settings inside, and how far two differ.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"

namespace pinion::pipeline {

struct Picture {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  // row by row, three bytes a pixel
};

// One picture per batch item from [batch, 3, height, width] float32 in [-1, 1]; rounds to nearest, clamps.
std::vector<Picture> to_pictures(const Tensor& tensor);

// [1, 3, height, width] float32 in [-1, 1].
Tensor to_tensor(const Picture& picture);

// `text` goes into the PNG's text chunks (keyword, UTF-8 value).
Result<void> write_png(const std::filesystem::path& path, const Picture& picture,
                       const std::map<std::string, std::string>& text);

// 8-bit RGB, whatever the file holds (grey, palette, alpha over black, 16 bit). At most 16384 pixels a side.
Result<Picture> read_png(const std::filesystem::path& path);

// A reference picture cut to what the model takes: sides multiples of `multiple`, at most `max_pixels` in all
// (scaled down by averaging where it is more), the middle kept.
Picture fit_reference(const Picture& picture, int multiple, std::int64_t max_pixels);

struct PictureDifference {
  double psnr_db = 0;  // infinite when identical
  int max_error = 0;   // in 8-bit steps
};

// Both must have the same size.
PictureDifference compare(const Picture& a, const Picture& b);

}  // namespace pinion::pipeline
