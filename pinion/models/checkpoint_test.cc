// Where weights are found, what they mean as numbers, and how they are listed and exported.

#include "pinion/models/checkpoint.h"

#include <gmock/gmock.h>

#include <fstream>

#include "pinion/models/export_model.h"
#include "pinion/models/flux2/flux2_test_support.h"
#include "pinion/models/load_tensor.h"
#include "pinion/models/model_list.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models {
namespace {

namespace fs = std::filesystem;
using flux2::EditableWeights;
using flux2::must;
using flux2::TemporaryFolder;
using flux2::test_device;
using flux2::write_weights;
using ::testing::HasSubstr;

WantedGroup one_tensor(const std::string& name, const Shape& shape, Spelling spelling) {
  return {"all", {WantedTensor{name, shape, {std::move(spelling)}}}};
}

at::Tensor load(const fs::path& file, const WantedGroup& wanted, DType dtype) {
  const Checkpoint checkpoint = must(Checkpoint::resolve(must(Weights::open(file)), {wanted}));
  return must(load_tensor(checkpoint, checkpoint.groups()[0].tensors[0], {test_device(), dtype})).cpu();
}

TEST(Weights, AnIndexMayNotReachOutsideItsFolder) {
  const TemporaryFolder folder;
  write_weights(folder / "secret.safetensors", {{"a", at::zeros({1}, at::kFloat)}});
  fs::create_directory(folder / "model");
  for (const std::string shard : {"../secret.safetensors", "/etc/passwd", "..", ""}) {
    std::ofstream(folder / "model" / "model.safetensors.index.json")
        << R"({"weight_map": {"a": ")" << shard << "\"}}";
    const auto weights = Weights::open(folder / "model");
    ASSERT_FALSE(weights.ok());
    EXPECT_EQ(weights.error().code, Errc::kBadFormat);
    EXPECT_THAT(weights.error().text, HasSubstr("plain file name"));
  }
}

TEST(Weights, AnIndexThatIsNoIndexIsAnError) {
  const TemporaryFolder folder;
  for (const std::string text :
       {"", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {}})", R"({"weight_map": {"a": 3}})"}) {
    std::ofstream(folder / "model.safetensors.index.json") << text;
    EXPECT_EQ(Weights::open(folder.path()).error().code, Errc::kBadFormat) << text;
  }
}

TEST(Weights, SeveralCheckpointsInAFolderAreAQuestion) {
  const TemporaryFolder folder;
  write_weights(folder / "a.safetensors", {{"a", at::zeros({1}, at::kFloat)}});
  write_weights(folder / "b.safetensors", {{"a", at::zeros({1}, at::kFloat)}});
  const auto weights = Weights::open(folder.path());
  ASSERT_FALSE(weights.ok());
  EXPECT_EQ(weights.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(weights.error().text, HasSubstr("a.safetensors b.safetensors"));
}

TEST(LoadTensor, EveryFp8CodeMeansWhatTorchSays) {
  const TemporaryFolder folder;
  for (const at::ScalarType type : {at::kFloat8_e4m3fn, at::kFloat8_e5m2}) {
    const at::Tensor codes = at::arange(256, at::kByte).view({16, 16}).view(type);
    write_weights(folder / "w.safetensors", {{"x.weight", codes}});
    const at::Tensor loaded =
        load(folder / "w.safetensors", one_tensor("x", {16, 16}, {{"x.weight", 16, 0, 16}}), DType::kF32);
    EXPECT_TRUE(at::allclose(loaded, codes.to(at::kFloat), 0, 0, /*equal_nan=*/true));
  }
}

TEST(LoadTensor, ScalesMultiplyInFloat32AndRoundOnce) {
  const TemporaryFolder folder;
  const at::Tensor codes = at::randn({8, 6}).to(at::kFloat8_e4m3fn);
  const at::Tensor per_tensor = at::full({}, 0.0123f);
  const at::Tensor per_row = at::rand({8, 1}) + 0.5;
  const std::map<std::string, at::Tensor> styles = {
      {"weight_scale", per_tensor}, {"scale_weight", per_tensor.view({1})}, {"weight_scale ", per_row}};
  for (const auto& [style, scale] : styles) {
    const std::string name = "x." + style.substr(0, style.find(' '));
    write_weights(folder / "w.safetensors", {{"x.weight", codes}, {name, scale}});
    const at::Tensor expected = codes.to(at::kFloat) * scale;
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      const WantedGroup wanted = one_tensor("x", {8, 6}, {{"x.weight", 8, 0, 8}});
      EXPECT_TRUE(load(folder / "w.safetensors", wanted, dtype).equal(expected.to(to_torch(dtype)))) << style;
    }
  }
}

TEST(LoadTensor, PiecesKeepTheirOwnDtypeAndScale) {
  const TemporaryFolder folder;
  const at::Tensor q = at::randn({4, 3}).to(at::kFloat8_e4m3fn);
  const at::Tensor k = at::randn({4, 3}).to(at::kBFloat16);
  const at::Tensor scale = at::rand({4, 1}) + 0.5;
  write_weights(folder / "w.safetensors", {{"q.weight", q}, {"q.weight_scale", scale}, {"k.weight", k}});
  // The second half of q, then all of k, then the first half of q.
  const WantedGroup wanted =
      one_tensor("x", {8, 3}, {{"q.weight", 4, 2, 2}, {"k.weight", 4, 0, 4}, {"q.weight", 4, 0, 2}});
  const at::Tensor dequantised = q.to(at::kFloat) * scale;
  const at::Tensor expected =
      at::cat({dequantised.narrow(0, 2, 2), k.to(at::kFloat), dequantised.narrow(0, 0, 2)}, 0);
  EXPECT_TRUE(load(folder / "w.safetensors", wanted, DType::kF32).equal(expected));
}

TEST(LoadTensor, AScaleOfAnotherSizeIsRefused) {
  const TemporaryFolder folder;
  write_weights(folder / "w.safetensors",
                {{"x.weight", at::zeros({4, 3}).to(at::kFloat8_e4m3fn)}, {"x.weight_scale", at::ones({3})}});
  const auto checkpoint = Checkpoint::resolve(must(Weights::open(folder / "w.safetensors")),
                                              {one_tensor("x", {4, 3}, {{"x.weight", 4, 0, 4}})});
  ASSERT_FALSE(checkpoint.ok());
  EXPECT_EQ(checkpoint.error().code, Errc::kBadFormat);
  EXPECT_THAT(checkpoint.error().text, HasSubstr("one per row"));
}

TEST(ExportModel, KeepsTheScalesOfWeightsThatItCutsOrJoins) {
  const TemporaryFolder folder;
  const auto apart =
      must(export_model(flux2::model_path({"klein_legacy_scaled_fp8"}), "diffusers", folder / "apart"));
  const auto joined = must(export_model(folder / "apart", "bfl", folder / "joined"));
  const auto before = flux2::read_weights(flux2::model_path({"klein_legacy_scaled_fp8"}));
  const auto after = flux2::read_weights(joined.front());
  for (const std::string layer : {"double_blocks.1.txt_attn.qkv", "single_blocks.0.linear1"}) {
    EXPECT_TRUE(
        after.at(layer + ".weight").view(at::kByte).equal(before.at(layer + ".weight").view(at::kByte)));
    EXPECT_EQ(after.at(layer + ".weight_scale").item<float>(),
              before.at(layer + ".scale_weight").item<float>());
  }

  auto weights = flux2::read_weights(folder / "apart");
  weights.at("transformer_blocks.0.attn.to_k.weight_scale") *= 2;
  write_weights(folder / "several.safetensors", weights);
  const auto several = export_model(folder / "several.safetensors", "bfl", folder / "out");
  ASSERT_FALSE(several.ok());
  EXPECT_EQ(several.error().code, Errc::kUnsupported);
  EXPECT_THAT(several.error().text, HasSubstr("double_blocks.0.img_attn.qkv.weight"));
}

TEST(ExportModel, RefusesALayoutThatTheFamilyDoesNotHave) {
  const TemporaryFolder folder;
  const auto layout = export_model(flux2::model_path({"klein_bfl_batch"}), "gguf", folder.path());
  ASSERT_FALSE(layout.ok());
  EXPECT_EQ(layout.error().code, Errc::kInvalidArgument);
}

TEST(ExportModel, JoinsTheShardsOfATextEncoder) {
  const TemporaryFolder folder;
  const fs::path model = folder / "tiny";
  fs::create_directories(model);
  fs::copy(flux2::fixture_folder("klein_diffusers") / "transformer", model / "transformer",
           fs::copy_options::recursive);
  fs::create_directories(model / "text_encoder");
  write_weights(model / "text_encoder" / "one.safetensors", {{"a", at::ones({2}, at::kHalf)}});
  write_weights(model / "text_encoder" / "two.safetensors", {{"b", at::ones({3}, at::kBFloat16)}});
  std::ofstream(model / "text_encoder" / "model.safetensors.index.json")
      << R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})";
  const auto written = must(export_model(model, "bfl", folder / "out"));
  ASSERT_EQ(written.size(), 2u);
  EXPECT_EQ(written[0], folder / "out" / "diffusion_models" / "tiny.safetensors");
  EXPECT_EQ(written[1], folder / "out" / "text_encoders" / "tiny-text-encoder.safetensors");
  const EditableWeights joined = flux2::read_weights(written[1]);
  ASSERT_EQ(joined.size(), 2u);
  EXPECT_TRUE(joined.at("a").equal(at::ones({2}, at::kHalf)));
  EXPECT_TRUE(joined.at("b").equal(at::ones({3}, at::kBFloat16)));
}

// A model folder with a VAE whose encoder starts `encoder_width` channels wide.
void make_model_with_vae(const fs::path& model, std::int64_t encoder_width) {
  fs::create_directories(model);
  fs::copy(flux2::fixture_folder("klein_diffusers") / "transformer", model / "transformer",
           fs::copy_options::recursive);
  write_weights(model / "vae" / "diffusion_pytorch_model.safetensors",
                {{"bn.running_mean", at::rand({128})},
                 {"encoder.conv_in.weight", at::rand({encoder_width, 3, 3, 3})},
                 {"decoder.mid_block.attentions.0.to_q.weight", at::rand({8, 8})},
                 {"decoder.conv_in.weight", at::rand({8, 32, 3, 3})}});
}

TEST(ExportModel, GivesTheVaeBflsNames) {
  const TemporaryFolder folder;
  make_model_with_vae(folder / "tiny", 128);
  const auto written = must(export_model(folder / "tiny", "bfl", folder / "out"));
  ASSERT_EQ(written.size(), 2u);
  EXPECT_EQ(written[1], folder / "out" / "vae" / "tiny-vae.safetensors");
  const EditableWeights before = flux2::read_weights(folder / "tiny" / "vae");
  const EditableWeights after = flux2::read_weights(written[1]);
  EXPECT_EQ(after.size(), before.size());
  EXPECT_EQ(after.at("decoder.mid.attn_1.q.weight").sizes(), at::IntArrayRef({8, 8, 1, 1}));
  EXPECT_TRUE(after.at("decoder.mid.attn_1.q.weight")
                  .flatten(1)
                  .equal(before.at("decoder.mid_block.attentions.0.to_q.weight")));
}

TEST(ExportModel, LeavesOutAVaeEncoderThatComfyUiRefuses) {
  const TemporaryFolder folder;
  make_model_with_vae(folder / "tiny", 32);
  const auto written = must(export_model(folder / "tiny", "bfl", folder / "out"));
  const EditableWeights after = flux2::read_weights(written[1]);
  EXPECT_FALSE(after.contains("encoder.conv_in.weight"));
  EXPECT_TRUE(after.contains("decoder.conv_in.weight"));
}

TEST(ModelList, FindsModelsAndSaysWhatElseIsThere) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "deep" / "er");
  fs::copy(flux2::fixture_folder("klein_diffusers"), folder / "deep" / "er" / "klein",
           fs::copy_options::recursive);
  fs::copy(flux2::fixture_folder("klein_bfl_batch") / "model.safetensors", folder / "b.safetensors");
  fs::create_directories(folder / ".hidden");
  fs::copy(folder / "b.safetensors", folder / ".hidden" / "b.safetensors");
  write_weights(folder / "vae.safetensors", {{"decoder.conv_in.weight", at::zeros({1}, at::kFloat)}});
  std::ofstream(folder / "broken.safetensors") << "no";
  const ModelList list = must(list_models(folder.path(), false));
  ASSERT_EQ(list.models.size(), 2u);
  EXPECT_EQ(list.models[0].path, folder / "b.safetensors");
  EXPECT_EQ(list.models[1].path, folder / "deep" / "er" / "klein");
  EXPECT_EQ(list.models[1].info.blocks.size(), 4u);
  ASSERT_EQ(list.others.size(), 2u);
  EXPECT_TRUE(list.others[0].damaged);
  EXPECT_EQ(list.others[1].what, "a VAE");
  EXPECT_EQ(list_models(folder / "nowhere", false).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace pinion::models
