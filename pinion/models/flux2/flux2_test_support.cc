#include "pinion/models/flux2/flux2_test_support.h"

#include <unistd.h>

#include <cstdlib>

#include "pinion/models/torch_bridge.h"

namespace pinion::models::flux2 {

namespace fs = std::filesystem;

std::vector<FixtureCase> all_cases() {
  return {{"klein_diffusers", true}, {"klein_bfl_batch"},
          {"dev_prefixed_batch"},    {"dev_sharded_references", true},
          {"klein_padded_text"},     {"klein_head128_fp8"},
          {"dev_scaled_fp8"},        {"klein_legacy_scaled_fp8"}};
}

fs::path fixture_folder(const std::string& case_name) {
  return fs::path(PINION_SOURCE_DIR) / "tests" / "fixtures" / "flux2" / case_name;
}

fs::path model_path(const FixtureCase& fixture) {
  const fs::path folder = fixture_folder(fixture.name);
  return fixture.in_folder ? folder : folder / "model.safetensors";
}

Device test_device() {
  const char* text = std::getenv("PINION_TEST_DEVICE");
  return device_from_name(text == nullptr ? "cpu" : text).value();
}

TensorList read_file_tensors(const fs::path& path) {
  const SafetensorsFile file = must(SafetensorsFile::open(path));
  TensorList tensors;
  for (const SafetensorsEntry& entry : file.header().entries)
    tensors.push_back({entry.name, file.tensor(entry)});
  return tensors;
}

ForwardCall read_call(const Model& model, const std::string& case_name) {
  const Family* family = find_family(model.info().family);
  return must(family->read_forward_call(
      model.info(), read_file_tensors(fixture_folder(case_name) / "arguments.safetensors")));
}

std::map<std::string, at::Tensor> evaluate(Model& model, const ForwardCall& call, DType dtype) {
  auto stage = must(model.load_stage({0, model.block_count()}, {test_device(), dtype}));
  auto job = must(stage->begin_job(call.constants));
  std::map<std::string, at::Tensor> seen;
  const auto observe = [&](int block, const TensorList& state) {
    for (const NamedTensor& entry : state) {
      seen["hidden." + std::to_string(block) + "." + entry.name] = to_torch(entry.tensor).to(at::kCPU);
    }
  };
  const StepOutput output = must(job->step(call.input, observe));
  seen["sample"] = to_torch(output.front().tensor).to(at::kCPU);
  return seen;
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor reference = b.to(at::kDouble);
  return ((a.to(at::kDouble) - reference).norm() / reference.norm()).item<double>();
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "pinion-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

EditableWeights read_weights(const fs::path& path) {
  const Weights weights = must(Weights::open(transformer_path(path)));
  EditableWeights tensors;
  for (const std::string& name : weights.names())
    tensors[name] = to_torch(must(weights.tensor(name))).clone();
  return tensors;
}

void write_weights(const fs::path& path, const EditableWeights& weights,
                   const std::map<std::string, std::string>& metadata) {
  TensorList tensors;
  for (const auto& [name, tensor] : weights) tensors.push_back({name, from_torch(tensor)});
  must(write_safetensors(path, tensors, metadata));
}

}  // namespace pinion::models::flux2
