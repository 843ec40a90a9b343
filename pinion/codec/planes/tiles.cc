#include "pinion/codec/planes/tiles.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/float_formats.h"

namespace pinion::codec {
namespace {

std::size_t plane_samples(const PictureLayout& layout) { return layout.width() * layout.height(); }

std::size_t tile_offset(const PictureLayout& layout, std::size_t slot) {
  const TilePlace place = layout.place(slot);
  return (place.picture * layout.planes + place.plane) * plane_samples(layout) + place.row * layout.width() +
         place.column;
}

}  // namespace

Result<Matrix> channels_of(const TensorView& tensor, const TokenGrid& grid) {
  if (!tensor.device.is_cpu() || !is_float(tensor.dtype) || tensor.shape.rank() != 2 ||
      tensor.elements() == 0) {
    return Error{Errc::kInvalidArgument,
                 "only float tensors [tokens, channels] in host memory become planes, not " +
                     std::string(name(tensor.dtype)) + " " + to_string(tensor.shape),
                 ""};
  }
  const auto tokens = static_cast<std::size_t>(tensor.shape[0]);
  if (grid.lines == 0 || tokens % grid.lines != 0 || tokens / grid.lines != grid.columns) {
    return Error{Errc::kInvalidArgument,
                 std::to_string(tokens) + " tokens are no grid of " + std::to_string(grid.lines) + " x " +
                     std::to_string(grid.columns),
                 ""};
  }
  Matrix values(tokens, static_cast<std::size_t>(tensor.shape[1]));
  to_float(tensor.data, tensor.dtype, tensor.elements(), values.values.data());
  for (std::size_t i = 0; i < values.values.size(); ++i) {
    if (!std::isfinite(values.values[i])) {
      return Error{Errc::kInvalidArgument,
                   "NaN or infinity at token " + std::to_string(i / values.columns) + ", channel " +
                       std::to_string(i % values.columns) + ": planes cannot hold that",
                   "send it raw or lossless"};
    }
  }
  return transpose(values);
}

Tensor grey_pictures(const PictureLayout& layout, std::size_t components) {
  Tensor pictures = Tensor::empty(DType::kU8, layout.pictures_shape(components));
  std::fill_n(reinterpret_cast<std::uint8_t*>(pictures.mutable_data()), pictures.bytes(), kGreyLevel);
  return pictures;
}

Result<void> check_pictures(const TensorView& pictures, const PictureLayout& layout, std::size_t components) {
  const Shape wanted = layout.pictures_shape(components);
  if (pictures.device.is_cpu() && pictures.dtype == DType::kU8 && pictures.shape == wanted) return {};
  return Error{Errc::kBadFormat,
               "pictures are " + std::string(name(pictures.dtype)) + " " + to_string(pictures.shape) +
                   ", but their side information says U8 " + to_string(wanted),
               ""};
}

void write_tile(std::uint8_t* pictures, const PictureLayout& layout, std::size_t slot,
                std::span<const std::uint8_t> levels) {
  std::uint8_t* to = pictures + tile_offset(layout, slot);
  for (std::size_t row = 0; row < layout.grid.lines; ++row, to += layout.width()) {
    std::copy_n(levels.data() + row * layout.grid.columns, layout.grid.columns, to);
  }
}

void read_tile(const std::uint8_t* pictures, const PictureLayout& layout, std::size_t slot,
               std::span<std::uint8_t> levels) {
  const std::uint8_t* from = pictures + tile_offset(layout, slot);
  for (std::size_t row = 0; row < layout.grid.lines; ++row, from += layout.width()) {
    std::copy_n(from, layout.grid.columns, levels.data() + row * layout.grid.columns);
  }
}

void extend_edges(std::uint8_t* pictures, const PictureLayout& layout, std::size_t components) {
  const std::size_t width = layout.width(), used_width = layout.used_width();
  const std::size_t used_height = layout.used_height();
  for (std::size_t p = 0; p < layout.pictures(components) * layout.planes; ++p) {
    std::uint8_t* const plane = pictures + p * plane_samples(layout);
    for (std::size_t y = 0; y < used_height; ++y) {
      std::uint8_t* const row = plane + y * width;
      std::fill(row + used_width, row + width, row[used_width - 1]);
    }
    for (std::size_t y = used_height; y < layout.height(); ++y) {
      std::copy_n(plane + (used_height - 1) * width, width, plane + y * width);
    }
  }
}

}  // namespace pinion::codec
