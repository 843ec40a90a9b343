#include "pinion/pipeline/picture.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>

#include "pinion/base/file_io.h"

namespace pinion::pipeline {
namespace {

constexpr int kMaxSide = 16384;
constexpr std::size_t kMaxPngBytes = std::size_t{1} << 30;

std::uint8_t to_byte(float value) {
  const float scaled = std::round((value + 1.0f) * 127.5f);
  return static_cast<std::uint8_t>(std::clamp(scaled, 0.0f, 255.0f));
}

// libpng reports failures by longjmp in C; in its simplified API they are a message instead, but that API
// writes no text chunks. So writing uses the full API with a callback that throws, which libpng allows.
[[noreturn]] void throw_png_error(png_structp, png_const_charp message) { throw std::runtime_error(message); }

void append_to_bytes(png_structp png, png_bytep data, png_size_t size) {
  auto* out = static_cast<Bytes*>(png_get_io_ptr(png));
  const auto* from = reinterpret_cast<const std::byte*>(data);
  out->insert(out->end(), from, from + size);
}

Bytes encode_png(const Picture& picture, const std::map<std::string, std::string>& text) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, throw_png_error, nullptr);
  png_infop info = png_create_info_struct(png);
  const auto free_png = [&](Bytes* handle) {
    png_destroy_write_struct(&png, &info);
    return handle;
  };
  const std::unique_ptr<Bytes, decltype(free_png)> guard(&out, free_png);

  png_set_write_fn(png, &out, append_to_bytes, [](png_structp) {});
  png_set_IHDR(png, info, static_cast<png_uint_32>(picture.width), static_cast<png_uint_32>(picture.height),
               8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  std::map<std::string, std::string> chunks = text;  // libpng wants pointers to mutable text
  std::vector<png_text> entries;
  for (auto& [key, value] : chunks) {
    png_text entry{};
    entry.compression = PNG_ITXT_COMPRESSION_NONE;
    entry.key = const_cast<char*>(key.c_str());
    entry.text = value.data();
    entry.itxt_length = value.size();
    entries.push_back(entry);
  }
  png_set_text(png, info, entries.data(), static_cast<int>(entries.size()));
  png_write_info(png, info);
  for (int y = 0; y < picture.height; ++y) {
    png_write_row(
        png, picture.rgb.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) * 3);
  }
  png_write_end(png, info);
  return out;
}

Picture crop_middle(const Picture& picture, int width, int height) {
  const int left = (picture.width - width) / 2;
  const int top = (picture.height - height) / 2;
  Picture out{
      width, height,
      std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3)};
  for (int y = 0; y < height; ++y) {
    const auto* from =
        picture.rgb.data() + (static_cast<std::size_t>(y + top) * static_cast<std::size_t>(picture.width) +
                              static_cast<std::size_t>(left)) *
                                 3;
    std::copy_n(from, static_cast<std::size_t>(width) * 3,
                out.rgb.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3);
  }
  return out;
}

// Area averaging: every output pixel is the mean of the input area that it covers.
Picture scale_down(const Picture& picture, int width, int height) {
  Picture out{
      width, height,
      std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3)};
  const double step_x = static_cast<double>(picture.width) / width;
  const double step_y = static_cast<double>(picture.height) / height;
  for (int y = 0; y < height; ++y) {
    const double top = y * step_y;
    const double bottom = std::min((y + 1) * step_y, static_cast<double>(picture.height));
    for (int x = 0; x < width; ++x) {
      const double left = x * step_x;
      const double right = std::min((x + 1) * step_x, static_cast<double>(picture.width));
      double sum[3] = {0, 0, 0};
      for (int v = static_cast<int>(top); v < bottom; ++v) {
        const double rows = std::min(v + 1.0, bottom) - std::max<double>(v, top);
        for (int u = static_cast<int>(left); u < right; ++u) {
          const double area = rows * (std::min(u + 1.0, right) - std::max<double>(u, left));
          const auto* pixel =
              picture.rgb.data() + (static_cast<std::size_t>(v) * static_cast<std::size_t>(picture.width) +
                                    static_cast<std::size_t>(u)) *
                                       3;
          for (int c = 0; c < 3; ++c) sum[c] += area * pixel[c];
        }
      }
      const double total = (bottom - top) * (right - left);
      auto* to =
          out.rgb.data() +
          (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)) * 3;
      for (int c = 0; c < 3; ++c)
        to[c] = static_cast<std::uint8_t>(std::clamp(std::lround(sum[c] / total), 0l, 255l));
    }
  }
  return out;
}

}  // namespace

std::vector<Picture> to_pictures(const Tensor& tensor) {
  PINION_ASSERT(tensor.dtype() == DType::kF32 && tensor.shape().rank() == 4 && tensor.shape()[1] == 3);
  const auto batch = static_cast<std::size_t>(tensor.shape()[0]);
  const auto height = static_cast<std::size_t>(tensor.shape()[2]);
  const auto width = static_cast<std::size_t>(tensor.shape()[3]);
  const std::size_t plane = height * width;
  const auto* values = reinterpret_cast<const float*>(tensor.view().data);
  std::vector<Picture> pictures(batch);
  for (std::size_t b = 0; b < batch; ++b) {
    pictures[b] = {static_cast<int>(width), static_cast<int>(height), std::vector<std::uint8_t>(plane * 3)};
    for (std::size_t c = 0; c < 3; ++c) {
      for (std::size_t i = 0; i < plane; ++i)
        pictures[b].rgb[i * 3 + c] = to_byte(values[(b * 3 + c) * plane + i]);
    }
  }
  return pictures;
}

Tensor to_tensor(const Picture& picture) {
  Tensor tensor = Tensor::empty(DType::kF32, {1, 3, picture.height, picture.width});
  auto* values = reinterpret_cast<float*>(tensor.mutable_data());
  const std::size_t plane = picture.rgb.size() / 3;
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t i = 0; i < plane; ++i)
      values[c * plane + i] = static_cast<float>(picture.rgb[i * 3 + c]) / 127.5f - 1.0f;
  }
  return tensor;
}

Result<void> write_png(const std::filesystem::path& path, const Picture& picture,
                       const std::map<std::string, std::string>& text) {
  try {
    return write_file(path, encode_png(picture, text));
  } catch (const std::runtime_error& failure) {
    return Error{Errc::kInternal, "cannot encode " + path.string() + ": " + failure.what(), ""};
  }
}

Result<Picture> read_png(const std::filesystem::path& path) {
  PINION_TRY(const Bytes file, read_file(path, kMaxPngBytes));
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const auto bad = [&](const std::string& why) {
    png_image_free(&image);
    return Error{Errc::kBadFormat, path.string() + " is not a PNG picture that can be read: " + why,
                 "convert it to PNG"};
  };
  if (png_image_begin_read_from_memory(&image, file.data(), file.size()) == 0) return bad(image.message);
  if (image.width > kMaxSide || image.height > kMaxSide) return bad("more than 16384 pixels a side");
  image.format = PNG_FORMAT_RGB;
  Picture picture{static_cast<int>(image.width), static_cast<int>(image.height),
                  std::vector<std::uint8_t>(PNG_IMAGE_SIZE(image))};
  const png_color black{0, 0, 0};
  if (png_image_finish_read(&image, &black, picture.rgb.data(), 0, nullptr) == 0) return bad(image.message);
  return picture;
}

Picture fit_reference(const Picture& picture, int multiple, std::int64_t max_pixels) {
  const std::int64_t pixels = static_cast<std::int64_t>(picture.width) * picture.height;
  Picture fitted = picture;
  if (pixels > max_pixels) {
    const double scale = std::sqrt(static_cast<double>(max_pixels) / static_cast<double>(pixels));
    fitted = scale_down(picture, std::max(multiple, static_cast<int>(picture.width * scale)),
                        std::max(multiple, static_cast<int>(picture.height * scale)));
  }
  return crop_middle(fitted, fitted.width / multiple * multiple, fitted.height / multiple * multiple);
}

PictureDifference compare(const Picture& a, const Picture& b) {
  PINION_ASSERT(a.width == b.width && a.height == b.height);
  double squares = 0;
  int max_error = 0;
  for (std::size_t i = 0; i < a.rgb.size(); ++i) {
    const int difference = std::abs(static_cast<int>(a.rgb[i]) - static_cast<int>(b.rgb[i]));
    squares += static_cast<double>(difference) * difference;
    max_error = std::max(max_error, difference);
  }
  if (squares == 0) return {std::numeric_limits<double>::infinity(), 0};
  return {10 * std::log10(255.0 * 255.0 * static_cast<double>(a.rgb.size()) / squares), max_error};
}

}  // namespace pinion::pipeline
