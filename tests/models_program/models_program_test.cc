// `pinion models`, `pinion models export` and `pinion forward` as processes, on the FLUX.2 fixtures.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "pinion/base/safetensors.h"
#include "tests/support/child_process.h"

namespace pinion::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

const fs::path kFixtures = fs::path(PINION_SOURCE_DIR) / "tests" / "fixtures" / "flux2";

class ModelsProgram : public testing::Test {
 protected:
  ProcessResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), pinion_program());
    return run_process(arguments,
                       {{"PINION_CONFIG_DIR", folder_ + "/config"}, {"PINION_CACHE_DIR", folder_ + "/cache"}},
                       std::chrono::seconds(60));
  }

  json models(const fs::path& path, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"models", path.string(), "--json"});
    const ProcessResult result = run(more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out);
  }

  const std::string folder_ = scratch_folder("models_program");
};

// ||a - b|| / ||b|| of float32 tensors.
double relative_error(const Tensor& a, const Tensor& b) {
  double difference = 0, size = 0;
  const auto* left = reinterpret_cast<const float*>(a.view().data);
  const auto* right = reinterpret_cast<const float*>(b.view().data);
  for (std::int64_t i = 0; i < b.elements(); ++i) {
    difference += std::pow(static_cast<double>(left[i]) - right[i], 2);
    size += std::pow(static_cast<double>(right[i]), 2);
  }
  return std::sqrt(difference / size);
}

TEST_F(ModelsProgram, ForwardGivesWhatDiffusersGives) {
  for (const std::string name : {"klein_diffusers", "dev_sharded_references", "dev_scaled_fp8"}) {
    const fs::path fixture = kFixtures / name;
    const fs::path file = fixture / "model.safetensors";
    const ProcessResult result = run({"forward", "--model", (fs::exists(file) ? file : fixture).string(),
                                      "--inputs", (fixture / "arguments.safetensors").string(), "--out",
                                      folder_ + "/out.safetensors", "--hidden"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto expected = SafetensorsFile::open(fixture / "expected.safetensors");
    const auto ours = SafetensorsFile::open(folder_ + "/out.safetensors");
    ASSERT_TRUE(expected.ok() && ours.ok());
    ASSERT_EQ(ours->header().entries.size(), expected->header().entries.size());
    for (const SafetensorsEntry& entry : expected->header().entries) {
      const auto found = ours->tensor(entry.name);
      ASSERT_TRUE(found.ok()) << found.error().message();
      ASSERT_EQ(found->shape(), entry.shape) << entry.name;
      EXPECT_LE(relative_error(*found, expected->tensor(entry)), 2e-5) << name << " " << entry.name;
    }
  }
}

TEST_F(ModelsProgram, ForwardSaysWhatIsWrong) {
  const std::string arguments = (kFixtures / "klein_diffusers" / "arguments.safetensors").string();
  const std::string model = (kFixtures / "klein_diffusers").string();
  const auto forward = [&](const std::string& path, const std::string& inputs) {
    return run({"forward", "--model", path, "--inputs", inputs, "--out", folder_ + "/out.safetensors"});
  };
  const ProcessResult no_model = forward(folder_ + "/nothing", arguments);
  EXPECT_EQ(no_model.exit_code, 1);
  EXPECT_THAT(no_model.err, HasSubstr("there is no file or folder"));
  const ProcessResult no_inputs = forward(model, folder_ + "/nothing.safetensors");
  EXPECT_EQ(no_inputs.exit_code, 1);
  const ProcessResult other_inputs =
      forward(model, (kFixtures / "klein_diffusers" / "expected.safetensors").string());
  EXPECT_EQ(other_inputs.exit_code, 2);
  const ProcessResult no_guidance =
      forward((kFixtures / "dev_scaled_fp8" / "model.safetensors").string(), arguments);
  EXPECT_EQ(no_guidance.exit_code, 2);
  EXPECT_THAT(no_guidance.err, HasSubstr("guidance"));
  EXPECT_FALSE(fs::exists(folder_ + "/out.safetensors"));
}

TEST_F(ModelsProgram, ListsAndExportsWithTheSameHash) {
  const json all = models(kFixtures);
  EXPECT_EQ(all["models"].size(), 8u);
  EXPECT_TRUE(all["models"][0]["hash"].is_null());

  const json source = models(kFixtures / "klein_diffusers", {"--hash"})["models"][0];
  EXPECT_EQ(source["family"], "flux2");
  EXPECT_EQ(source["variant"], "Klein");
  EXPECT_EQ(source["dtype"], "F32");
  ASSERT_EQ(source["blocks"].size(), 4u);
  EXPECT_EQ(source["blocks"][0]["kind"], "double");
  EXPECT_EQ(source["blocks"][3]["kind"], "single");

  const std::string out = folder_ + "/out";
  const ProcessResult exported =
      run({"models", "export", (kFixtures / "klein_diffusers").string(), "--layout", "bfl", "--out", out});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  EXPECT_EQ(exported.out, out + "/diffusion_models/klein_diffusers.safetensors\n");
  EXPECT_EQ(models(out, {"--hash"})["models"][0]["hash"], source["hash"]);
}

TEST_F(ModelsProgram, WrongUsageExitsWithTwo) {
  EXPECT_EQ(run({"models", "export", "here", "--layout", "gguf", "--out", folder_}).exit_code, 2);
  EXPECT_EQ(run({"forward"}).exit_code, 2);
  EXPECT_EQ(run({"models", folder_ + "/nowhere"}).exit_code, 1);
}

}  // namespace
}  // namespace pinion::test
