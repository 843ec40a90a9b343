#pragma once
// What the parity tests of this folder share: the device they run on, fixtures, and how far two tensors are
// apart.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "pinion/base/float_formats.h"
#include "pinion/base/safetensors.h"
#include "pinion/models/stage.h"

namespace pinion::models::testing {

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(PINION_SOURCE_DIR) / "tests/fixtures" / name;
}

// PINION_TEST_DEVICE, or the CPU.
inline Device test_device() {
  const char* text = std::getenv("PINION_TEST_DEVICE");
  return text == nullptr ? Device{} : device_from_name(text).value();
}

inline StageOptions test_options(DType dtype = DType::kF32) {
  return {.device = test_device(), .dtype = dtype};
}

inline TensorList read_tensors(const std::filesystem::path& path) {
  const auto file = SafetensorsFile::open(path);
  EXPECT_TRUE(file.ok()) << file.error().message();
  TensorList tensors;
  if (!file.ok()) return tensors;
  for (const SafetensorsEntry& entry : file->header().entries)
    tensors.push_back({entry.name, file->tensor(entry)});
  return tensors;
}

inline std::vector<float> floats(const Tensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  to_float(tensor.view().data, tensor.dtype(), tensor.elements(), values.data());
  return values;
}

// |a - b| / |b| over all elements; infinite if the shapes differ.
inline double relative_l2(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return INFINITY;
  const std::vector<float> x = floats(a), y = floats(b);
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
    size += double{y[i]} * y[i];
  }
  return std::sqrt(difference / size);
}

// What all parity tests in float32 demand.
inline constexpr double kParity = 2e-5;

}  // namespace pinion::models::testing
