#pragma once
// What the tests of FLUX.2 share: fixtures, whole evaluations, comparisons, edited checkpoints.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "pinion/models/family.h"

namespace pinion::models::flux2 {

struct FixtureCase {
  std::string name;
  bool in_folder = false;  // a diffusers folder rather than a single file
};

// All cases of tests/fixtures/flux2.
std::vector<FixtureCase> all_cases();
std::filesystem::path fixture_folder(const std::string& case_name);
std::filesystem::path model_path(const FixtureCase& fixture);

// The device of PINION_TEST_DEVICE, cpu if it is not set.
Device test_device();

// Test helpers end the test with the error's message where a Result has failed.
template <class T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().message());
  return std::move(result).value();
}
inline void must(const Result<void>& result) {
  if (!result.ok()) throw std::runtime_error(result.error().message());
}

TensorList read_file_tensors(const std::filesystem::path& path);

// The call that a fixture's arguments describe.
ForwardCall read_call(const Model& model, const std::string& case_name);

// One evaluation through the whole model; the state entering each block as hidden.N.image and hidden.N.text,
// and the output as sample, as the fixtures name them; on the CPU.
std::map<std::string, at::Tensor> evaluate(Model& model, const ForwardCall& call, DType dtype);

// ||a - b|| / ||b|| in float64.
double relative_error(const at::Tensor& a, const at::Tensor& b);

// A folder that is removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Tensors by name, to be changed and written again.
using EditableWeights = std::map<std::string, at::Tensor>;
EditableWeights read_weights(const std::filesystem::path& path);
void write_weights(const std::filesystem::path& path, const EditableWeights& weights,
                   const std::map<std::string, std::string>& metadata = {});

}  // namespace pinion::models::flux2
