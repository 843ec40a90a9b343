#include "pinion/models/content_hash.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>

#include "pinion/base/user_folders.h"
#include "pinion/models/export_model.h"
#include "pinion/models/flux2/flux2_test_support.h"
#include "pinion/models/model_list.h"

namespace pinion::models {
namespace {

namespace fs = std::filesystem;
using flux2::EditableWeights;
using flux2::FixtureCase;
using flux2::model_path;
using flux2::must;
using flux2::read_weights;
using flux2::TemporaryFolder;
using flux2::write_weights;

// Every test has a cache of its own.
class ContentHash : public ::testing::Test {
 protected:
  ContentHash() { setenv("PINION_CACHE_DIR", (folder_ / "cache").c_str(), 1); }
  ~ContentHash() override { unsetenv("PINION_CACHE_DIR"); }

  static std::string hash(const fs::path& path) { return must(must(open_model(path))->content_hash()); }

  std::string hash_of(const EditableWeights& weights) {
    const fs::path file = folder_ / (std::to_string(++files_) + ".safetensors");
    write_weights(file, weights);
    return hash(file);
  }

  TemporaryFolder folder_;
  int files_ = 0;
};

TEST_F(ContentHash, IsTheSameInEveryLayout) {
  for (const FixtureCase& fixture :
       {FixtureCase{"klein_diffusers", true}, FixtureCase{"dev_sharded_references", true}}) {
    const std::string in_folder = hash(model_path(fixture));
    EXPECT_EQ(in_folder.size(), 64u);
    const fs::path out = folder_ / fixture.name;
    const auto bfl = must(export_model(model_path(fixture), "bfl", out));
    ASSERT_EQ(bfl.size(), 1u);
    EXPECT_EQ(hash(bfl.front()), in_folder);

    EditableWeights prefixed;
    for (auto& [name, tensor] : read_weights(bfl.front())) {
      const bool norm = name.ends_with("_norm.scale");
      prefixed["model.diffusion_model." + (norm ? name.substr(0, name.size() - 5) + "weight" : name)] =
          tensor;
    }
    EXPECT_EQ(hash_of(prefixed), in_folder);

    must(export_model(bfl.front(), "diffusers", out / "back"));
    EXPECT_EQ(hash(out / "back"), in_folder);
  }
}

TEST_F(ContentHash, CountsScalesWhateverTheirStyle) {
  const FixtureCase legacy{"klein_legacy_scaled_fp8"};
  const auto current = must(export_model(model_path(legacy), "bfl", folder_ / "current"));
  const EditableWeights weights = read_weights(current.front());
  EXPECT_TRUE(weights.contains("single_blocks.0.linear1.comfy_quant"));
  EXPECT_EQ(hash(current.front()), hash(model_path(legacy)));

  EditableWeights other = weights;
  other.at("single_blocks.0.linear1.weight_scale") =
      weights.at("single_blocks.0.linear1.weight_scale") * 1.01;
  EXPECT_NE(hash_of(other), hash(model_path(legacy)));
}

TEST_F(ContentHash, ChangesWithEveryTensorNameDtypeAndBit) {
  const EditableWeights weights = read_weights(model_path({"klein_bfl_batch"}));
  std::set<std::string> seen = {hash_of(weights)};
  for (const auto& [name, tensor] : weights) {
    EditableWeights changed = weights;
    at::Tensor bytes = tensor.clone();
    bytes.view(at::kByte).flatten().slice(0, -1).bitwise_xor_(1);  // lowest bit of the last byte
    changed[name] = bytes;
    EXPECT_TRUE(seen.insert(hash_of(changed)).second) << name;
  }
  EditableWeights widened = weights;
  widened["img_in.weight"] = widened["img_in.weight"].to(at::kFloat);
  EXPECT_TRUE(seen.insert(hash_of(widened)).second);
}

TEST_F(ContentHash, IsKeptUntilTheFileChanges) {
  const fs::path file = folder_ / "model.safetensors";
  EditableWeights weights = read_weights(model_path({"klein_bfl_batch"}));
  write_weights(file, weights);
  EXPECT_EQ(must(list_models(file, false)).models.front().hash, "");
  const std::string first = hash(file);
  EXPECT_EQ(must(list_models(file, false)).models.front().hash, first);

  // Other bytes under the old size and time are taken for the old file: that is what "kept" means.
  const auto time = fs::last_write_time(file);
  weights["img_in.weight"] = weights["img_in.weight"] * 2;
  write_weights(file, weights);
  fs::last_write_time(file, time);
  EXPECT_EQ(hash(file), first);
  fs::last_write_time(file, time + std::chrono::seconds(1));
  EXPECT_NE(hash(file), first);
}

TEST_F(ContentHash, SurvivesARuinedCache) {
  const std::string first = hash(model_path({"klein_bfl_batch"}));
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "cache")) {
    if (entry.is_regular_file()) must(write_file(entry.path(), as_bytes("{\"hash\": 3")));
  }
  EXPECT_EQ(hash(model_path({"klein_bfl_batch"})), first);
  fs::remove_all(folder_ / "cache");
  must(write_file(folder_ / "cache", as_bytes("a file where the folder should be")));
  EXPECT_EQ(hash(model_path({"klein_bfl_batch"})), first);
}

}  // namespace
}  // namespace pinion::models
