#include "pinion/codec/cuda/calibration_on_device.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/cuda/class_prices.h"
#include "pinion/codec/cuda/device_upload.h"
#include "pinion/codec/cuda/wide_products.h"
#include "pinion/codec/indices/laplace_model.h"
#include "pinion/codec/math/grid_transform.h"

namespace pinion::codec::cuda {
namespace {

std::uint32_t padded(std::size_t count) { return static_cast<std::uint32_t>((count + 7) / 8 * 8); }

// A power of two that brings a row of that size to 1 to 2.
float unit_of(float size) { return size == 0 ? 1.0f : std::ldexp(1.0f, std::ilogb(size)); }

float largest_of(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// What tokens become, one by one, in tiles of one column.
std::vector<float> cosines() {
  std::vector<float> all(std::size_t{kTransformTile} * kTransformTile * kTransformTile);
  for (std::size_t size = 1; size <= kTransformTile; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::vector<float> token(size);
      token[at] = 1;
      transform_grid({size, 1}, token);
      for (std::size_t k = 0; k < size; ++k)
        all[((size - 1) * kTransformTile + k) * kTransformTile + at] = token[k];
    }
  }
  return all;
}

struct Parts16 {
  std::vector<__nv_bfloat16> upper, lower;
};

// The projection [K, padded channels] and, for each record, its means through it.
Parts16 projection_parts(const Calibration& calibration, std::vector<float>& projected_means) {
  const std::size_t d = calibration.channels(), k_count = calibration.components(), pitch = padded(d);
  Parts16 parts{std::vector<__nv_bfloat16>(k_count * pitch, __float2bfloat16_rn(0)),
                std::vector<__nv_bfloat16>(k_count * pitch, __float2bfloat16_rn(0))};
  std::vector<std::vector<double>> sums(calibration.records.size(), std::vector<double>(k_count));
  for (std::size_t c = 0; c < d; ++c) {
    const auto row = calibration.projection.row(c);
    for (std::size_t k = 0; k < k_count; ++k) {
      const __nv_bfloat16 upper = __float2bfloat16_rn(row[k]);
      const __nv_bfloat16 lower = __float2bfloat16_rn(row[k] - __bfloat162float(upper));
      parts.upper[k * pitch + c] = upper;
      parts.lower[k * pitch + c] = lower;
      const double both = static_cast<double>(__bfloat162float(upper)) + __bfloat162float(lower);
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i][k] += calibration.records[i].mean[c] * both;
    }
  }
  for (const auto& of_record : sums)
    projected_means.insert(projected_means.end(), of_record.begin(), of_record.end());
  return parts;
}

struct Halves {
  std::vector<__half> upper, lower;
};

// The reconstruction [d, padded K + L], what it is made of scaled to 1 to 2.
Halves reconstruction_parts(const Calibration& calibration, std::vector<float>& scales) {
  const Matrix& matrix = calibration.reconstruction;
  const std::size_t pitch = padded(matrix.rows);
  Halves parts{std::vector<__half>(matrix.columns * pitch, __float2half_rn(0)),
               std::vector<__half>(matrix.columns * pitch, __float2half_rn(0))};
  for (std::size_t g = 0; g < matrix.rows; ++g) {
    const float unit = unit_of(largest_of(matrix.row(g)));
    scales.push_back(unit);
    for (std::size_t c = 0; c < matrix.columns; ++c) {
      const float value = matrix.row(g)[c] / unit;
      const __half upper = __float2half_rn(value);
      parts.upper[c * pitch + g] = upper;
      parts.lower[c * pitch + g] = __float2half_rn(value - __half2float(upper));
    }
  }
  return parts;
}

// Arrays of all records, one behind the other.
template <class T, class Field>
std::vector<T> joined(const Calibration& calibration, Field field) {
  std::vector<T> all;
  for (const CalibrationRecord& record : calibration.records) {
    const std::vector<T>& values = field(record);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

template <class Field>
std::vector<float> turned(const Calibration& calibration, Field field, std::vector<float>& sizes) {
  std::vector<float> all;
  for (const CalibrationRecord& record : calibration.records) {
    const Matrix& matrix = field(record);
    for (std::size_t f = 0; f < matrix.rows; ++f) sizes.push_back(largest_of(matrix.row(f)));
    const Matrix other = transpose(matrix);
    all.insert(all.end(), other.values.begin(), other.values.end());
  }
  return all;
}

}  // namespace

RecordPair CalibrationOnDevice::records_at(std::uint16_t position) const {
  const std::uint32_t first = position / kBlendOne;
  const std::int32_t part = position % kBlendOne;
  return {first, first + (part == 0 ? 0 : 1), part};
}

Result<void> CalibrationOnDevice::make() {
  const DeviceScope scope(device_);
  const Calibration& calibration = *calibration_;
  int shared_bytes = 0;
  PINION_TRY_VOID(
      check(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device_),
            "no attributes"));
  PINION_TRY_VOID(
      check(cudaDeviceGetAttribute(&product_device_.processors, cudaDevAttrMultiProcessorCount, device_),
            "no attributes"));
  product_device_.shared_bytes = static_cast<std::size_t>(shared_bytes);
  PINION_TRY_VOID(check(allow_products(product_device_), "cannot use shared memory"));
  product_device_.is_wide = allow_wide_products(product_device_);
  PINION_TRY_VOID(coding_.make());
  PINION_TRY_VOID(crc_.make());

  Upload tables;
  IndexTables index_tables;
  tables.add(tables_.class_costs, class_costs(index_tables));
  tables.add(tables_.class_codes, class_codes());
  for (int i = 0; i < kStepEntries; ++i)
    steps_.push_back(static_cast<float>(std::exp2(static_cast<double>(i + kLeastStep) / kStepsPerOctave)));
  tables.add(tables_.steps, steps_);
  std::vector<float> laplace;
  for (int x = kLeastLaplace; x <= kMostLaplace; ++x)
    laplace.push_back(static_cast<float>(laplace_error(std::exp2(static_cast<double>(x) / kStepsPerOctave))));
  tables.add(tables_.laplace, std::move(laplace));
  std::vector<float> laplace_bits;
  for (int x = kLeastLaplace; x <= kMostLaplace; ++x)
    laplace_bits.push_back(
        static_cast<float>(codec::laplace_bits(std::exp2(static_cast<double>(x) / kStepsPerOctave))));
  tables.add(tables_.laplace_bits, std::move(laplace_bits));
  tables.add(tables_.cosines, cosines());
  for (int shape = 0; shape < kShapes; ++shape)
    tables_.max_scales[shape] = static_cast<std::uint8_t>(max_scale(shape));
  PINION_TRY_VOID(tables.finish(table_memory_));

  arrays_.channels = static_cast<std::uint32_t>(calibration.channels());
  arrays_.components = static_cast<std::uint32_t>(calibration.components());
  arrays_.latents = static_cast<std::uint32_t>(calibration.latents());
  arrays_.has_history = calibration.has_history;
  arrays_.has_loudness = calibration.has_loudness;
  arrays_.padded_channels = padded(calibration.channels());
  arrays_.padded_known = padded(calibration.reconstruction.rows);
  Upload upload;
  std::vector<float> projected_means, known_scales, alone_sizes, history_sizes;
  Parts16 projection = projection_parts(calibration, projected_means);
  upload.add(arrays_.projection[0], std::move(projection.upper));
  upload.add(arrays_.projection[1], std::move(projection.lower));
  upload.add(arrays_.projected_means, std::move(projected_means));
  Halves reconstruction = reconstruction_parts(calibration, known_scales);
  upload.add(arrays_.reconstruction[0], std::move(reconstruction.upper));
  upload.add(arrays_.reconstruction[1], std::move(reconstruction.lower));
  upload.add(arrays_.known_scales, std::move(known_scales));
  const auto add_floats = [&](const float*& place, auto field) {
    upload.add(place, joined<float>(calibration, field));
  };
  using Record = CalibrationRecord;
  add_floats(
      arrays_.means, [](const Record& r) -> auto& { return r.mean; });
  add_floats(
      arrays_.latent_means, [](const Record& r) -> auto& { return r.latent_mean; });
  add_floats(
      arrays_.change_means, [](const Record& r) -> auto& { return r.change_mean; });
  add_floats(
      arrays_.gains, [](const Record& r) -> auto& { return r.gain; });
  add_floats(
      arrays_.loudness, [](const Record& r) -> auto& { return r.loudness; });
  upload.add(arrays_.alone_levels, joined<std::uint8_t>(
                                       calibration, [](const Record& r) -> auto& { return r.levels; }));
  upload.add(arrays_.history_levels,
             joined<std::uint8_t>(
                 calibration, [](const Record& r) -> auto& { return r.history_levels; }));
  upload.add(arrays_.alone,
             turned(
                 calibration, [](const Record& r) -> auto& { return r.latents_alone; }, alone_sizes));
  upload.add(arrays_.history,
             turned(
                 calibration, [](const Record& r) -> auto& { return r.history; }, history_sizes));
  upload.add(arrays_.alone_sizes, std::move(alone_sizes));
  upload.add(arrays_.history_sizes, std::move(history_sizes));
  return upload.finish(memory_);
}

}  // namespace pinion::codec::cuda

namespace pinion::codec {

Result<std::shared_ptr<const DeviceCalibration>> DeviceCalibration::upload(
    std::shared_ptr<const Calibration> calibration, int device) {
  PINION_TRY_VOID(
      cuda::check_device(device, {.max_tensor_bytes = 0, .max_channels = calibration->channels()}));
  if (calibration->components() > cuda::kMostComponents)
    return Error{Errc::kUnsupported,
                 "the codec on a device takes calibrations of at most " +
                     std::to_string(cuda::kMostComponents) + " components",
                 "use the codec of the CPU"};
  auto made = std::make_shared<cuda::CalibrationOnDevice>(std::move(calibration), device);
  PINION_TRY_VOID(made->make());
  return std::shared_ptr<const DeviceCalibration>(std::move(made));
}

}  // namespace pinion::codec
