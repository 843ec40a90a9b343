// A shifted model differs from its own in the matrices of its blocks, by as much as was asked.

#include "bench/loop/lora_shift.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "pinion/base/float_formats.h"
#include "pinion/base/safetensors.h"

namespace pinion::bench {
namespace {

namespace fs = std::filesystem;

const std::string kMatrix = "transformer_blocks.0.attn.to_q.weight";

class LoraShiftTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / ("lora_shift_" + std::to_string(getpid()));
    fs::create_directories(root_ / "model" / "transformer");
    fs::create_directories(root_ / "model" / "vae");
    std::ofstream(root_ / "model" / "transformer" / "config.json") << "{}";
    std::vector<float> values(64 * 48);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
    const Tensor matrix = Tensor::from_floats(values, {64, 48});
    ASSERT_TRUE(
        write_safetensors(weights("model"), {{kMatrix, matrix},
                                             {"transformer_blocks.0.norm", matrix.reshaped({64 * 48})},
                                             {"x_embedder.weight", matrix}})
            .ok());
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path weights(const std::string& model) const {
    return root_ / model / "transformer" / "diffusion_pytorch_model.safetensors";
  }
  std::vector<float> read(const std::string& model, const std::string& tensor) const {
    return floats_of(*SafetensorsFile::open(weights(model))->tensor(tensor));
  }

  fs::path root_;
};

TEST_F(LoraShiftTest, ChangesMatricesOfBlocksByTheirNorm) {
  ASSERT_TRUE(write_shifted_model(root_ / "model", {.scale = .05, .rank = 4, .seed = 3}, root_ / "out").ok());
  const std::vector<float> before = read("model", kMatrix), after = read("out", kMatrix);
  double change = 0, norm = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    change += std::pow(after[i] - before[i], 2);
    norm += std::pow(before[i], 2);
  }
  EXPECT_NEAR(std::sqrt(change / norm), .05, 1e-5);
  for (const char* same : {"transformer_blocks.0.norm", "x_embedder.weight"})
    EXPECT_EQ(read("model", same), read("out", same));
  EXPECT_TRUE(fs::exists(root_ / "out" / "vae"));
  EXPECT_TRUE(fs::exists(root_ / "out" / "transformer" / "config.json"));
}

TEST_F(LoraShiftTest, ASeedMeansTheSameChange) {
  for (const auto& [out, seed] : {std::pair{"a", 1}, {"b", 1}, {"c", 2}}) {
    const LoraShift shift{.scale = .1, .rank = 2, .seed = static_cast<std::uint64_t>(seed)};
    ASSERT_TRUE(write_shifted_model(root_ / "model", shift, root_ / out).ok());
  }
  EXPECT_EQ(read("a", kMatrix), read("b", kMatrix));
  EXPECT_NE(read("a", kMatrix), read("c", kMatrix));
}

TEST_F(LoraShiftTest, SaysWhereThereIsNoModel) {
  EXPECT_FALSE(write_shifted_model(root_ / "none", {.scale = .1}, root_ / "out").ok());
}

}  // namespace
}  // namespace pinion::bench
