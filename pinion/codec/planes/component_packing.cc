#include "pinion/codec/planes/component_packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pinion/codec/planes/tiles.h"

namespace pinion::codec {
namespace {

constexpr int kLeast = -kGreyLevel;
constexpr int kGreatest = 255 - kGreyLevel;

Result<std::vector<std::int32_t>> choose_offsets(const Matrix& components, float step) {
  std::vector<std::int32_t> offsets(components.rows);
  for (std::size_t k = 0; k < components.rows; ++k) {
    const auto [low, high] = std::minmax_element(components.row(k).begin(), components.row(k).end());
    const double middle = std::floor((static_cast<double>(*low) + *high) / 2 / step + 0.5);
    constexpr double kMost = std::numeric_limits<std::int32_t>::max();
    if (!(std::fabs(middle) <= kMost) || !is_offset(static_cast<std::int32_t>(middle), step)) {
      return Error{Errc::kInvalidArgument,
                   "component " + std::to_string(k) + " lies " + std::to_string(middle) +
                       " steps from zero: that is no offset",
                   "use a larger step"};
    }
    offsets[k] = static_cast<std::int32_t>(middle);
  }
  return offsets;
}

void quantise(std::span<const float> values, double offset, double step, std::span<std::uint8_t> levels,
              Clipping& clipping) {
  const double scale = 1 / step;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double exact = values[i] * scale - offset;
    const double index = std::floor(exact + 0.5);
    const double kept = std::clamp<double>(index, kLeast, kGreatest);
    levels[i] = static_cast<std::uint8_t>(static_cast<int>(kept) + kGreyLevel);
    if (kept == index) continue;
    ++clipping.values;
    clipping.largest_excess = std::max(clipping.largest_excess, (std::fabs(exact - kept) - 0.5) * step);
  }
}

// [components, tokens].
Result<Matrix> rotate(Matrix channels, const Matrix& basis) {
  if (basis.empty()) return channels;
  if (basis.columns != channels.rows || basis.rows > basis.columns) {
    return Error{Errc::kInvalidArgument,
                 "a basis of " + std::to_string(basis.rows) + " x " + std::to_string(basis.columns) +
                     " does not turn " + std::to_string(channels.rows) + " channels",
                 ""};
  }
  Matrix components = multiply_transposed(transpose(basis), channels);
  const bool finite = std::all_of(components.values.begin(), components.values.end(),
                                  [](float value) { return std::isfinite(value); });
  if (!finite) return Error{Errc::kInvalidArgument, "a component overflows float32", ""};
  return components;
}

}  // namespace

bool is_step(float step) { return std::isfinite(step) && step > 0; }

bool is_offset(std::int32_t offset, float step) {
  const double farthest = (std::fabs(static_cast<double>(offset)) + kGreyLevel) * step;
  return farthest <= std::numeric_limits<float>::max();
}

Result<ComponentPictures> pack_components(const TensorView& tensor, const Matrix& basis,
                                          std::span<const std::int32_t> offsets,
                                          const ComponentPacking& packing) {
  if (!is_step(packing.step)) return Error{Errc::kInvalidArgument, "a step is finite and above 0", ""};
  PINION_TRY(Matrix channels, channels_of(tensor, packing.grid));
  PINION_TRY(const Matrix components, rotate(std::move(channels), basis));
  PINION_TRY(const PictureLayout layout, component_layout(packing.grid, components.rows));
  std::vector<std::int32_t> used(offsets.begin(), offsets.end());
  if (used.empty()) {
    PINION_TRY(used, choose_offsets(components, packing.step));
  }
  if (used.size() != components.rows) {
    return Error{
        Errc::kInvalidArgument,
        std::to_string(used.size()) + " offsets for " + std::to_string(components.rows) + " components", ""};
  }
  ComponentPictures packed{grey_pictures(layout, components.rows), std::move(used), {}};
  auto* const samples = reinterpret_cast<std::uint8_t*>(packed.pictures.mutable_data());
  std::vector<std::uint8_t> levels(components.columns);
  for (std::size_t k = 0; k < components.rows; ++k) {
    quantise(components.row(k), packed.offsets[k], packing.step, levels, packed.clipping);
    write_tile(samples, layout, k, levels);
  }
  extend_edges(samples, layout, components.rows);
  return packed;
}

Result<Tensor> unpack_components(const TensorView& pictures, const Matrix& basis,
                                 std::span<const std::int32_t> offsets, const ComponentPacking& packing) {
  if (!is_step(packing.step)) return Error{Errc::kBadFormat, "a step is finite and above 0", ""};
  for (const std::int32_t offset : offsets) {
    if (!is_offset(offset, packing.step))
      return Error{Errc::kBadFormat, "an offset leads out of float32", ""};
  }
  if (!basis.empty() && basis.rows != offsets.size()) {
    return Error{Errc::kBadFormat,
                 std::to_string(offsets.size()) + " components for a basis of " + std::to_string(basis.rows),
                 ""};
  }
  PINION_TRY(const PictureLayout layout, component_layout(packing.grid, offsets.size()));
  PINION_TRY_VOID(check_pictures(pictures, layout, offsets.size()));
  Matrix components(offsets.size(), packing.grid.tokens());
  std::vector<std::uint8_t> levels(components.columns);
  for (std::size_t k = 0; k < offsets.size(); ++k) {
    read_tile(reinterpret_cast<const std::uint8_t*>(pictures.data), layout, k, levels);
    const std::span<float> values = components.row(k);
    const double first = static_cast<double>(offsets[k]) - kGreyLevel;
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>((first + levels[i]) * packing.step);
  }
  const Matrix values = basis.empty() ? transpose(components) : multiply_transposed(components, basis);
  return Tensor::from_floats(
      values.values, {static_cast<std::int64_t>(values.rows), static_cast<std::int64_t>(values.columns)});
}

}  // namespace pinion::codec
