#include "pinion/models/sampling.h"

#include <ATen/Version.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "pinion/base/safetensors.h"

namespace pinion::models {
namespace {

const std::filesystem::path kFixtures = std::filesystem::path(PINION_SOURCE_DIR) / "tests/fixtures/schedule";

TEST(Flux2Sigmas, EqualDiffusersBitForBit) {
  std::ifstream file(kFixtures / "sigmas.json");
  const auto rows = nlohmann::json::parse(file);
  ASSERT_GE(rows.size(), 100u);
  for (const auto& row : rows) {
    const auto sigmas = flux2_sigmas(row["tokens"].get<std::int64_t>(), row["steps"].get<int>());
    const auto expected = row["sigmas"].get<std::vector<double>>();
    ASSERT_EQ(sigmas.size(), expected.size());
    for (std::size_t i = 0; i < sigmas.size(); ++i) {
      EXPECT_NEAR(sigmas[i], expected[i], 1e-6)
          << row["tokens"] << " tokens, " << row["steps"] << " steps, level " << i;
      EXPECT_EQ(static_cast<float>(sigmas[i]), static_cast<float>(expected[i]))
          << row["tokens"] << " tokens, " << row["steps"] << " steps, level " << i;
    }
  }
}

TEST(Flux2Sigmas, KnownSchedule) {
  const auto sigmas = flux2_sigmas(4096, 4);
  const double expected[] = {1.0, .967384, .908144, .7672, 0.0};
  ASSERT_EQ(sigmas.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(sigmas[i], expected[i], 1e-6);
}

// Names in the file: seed, batch, height, width.
TEST(InitialNoise, IsTorchsNoiseByToken) {
  const auto file = SafetensorsFile::open(kFixtures / "noise.safetensors");
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(file->header().entries.size(), 4u);
  // libtorch draws 16 values and more with vector instructions, whose last bits differ from the scalar code.
  const bool same_kernels = at::get_cpu_capability() == "AVX2" || at::get_cpu_capability() == "AVX512";
  for (const SafetensorsEntry& entry : file->header().entries) {
    unsigned long long seed = 0, batch = 0, height = 0, width = 0;
    ASSERT_EQ(std::sscanf(entry.name.c_str(), "seed%llu.b%llu.h%llu.w%llu", &seed, &batch, &height, &width),
              4);
    const LatentGrid grid{static_cast<std::int64_t>(height), static_cast<std::int64_t>(width)};
    const Tensor noise = initial_noise(seed, static_cast<std::int64_t>(batch), entry.shape[2], grid);
    const Tensor expected = file->tensor(entry);
    ASSERT_EQ(noise.shape(), expected.shape());
    ASSERT_EQ(noise.dtype(), DType::kF32);
    const auto* a = reinterpret_cast<const float*>(noise.view().data);
    const auto* b = reinterpret_cast<const float*>(expected.view().data);
    for (std::int64_t i = 0; i < noise.elements(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5f) << entry.name;
    if (same_kernels) {
      EXPECT_EQ(std::memcmp(a, b, noise.bytes()), 0) << entry.name;
    }
  }
}

}  // namespace
}  // namespace pinion::models
