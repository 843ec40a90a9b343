#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "pinion/models/flux2_vae/flux2_vae_names.h"
#include "pinion/models/forward_text_vae.h"
#include "pinion/models/parity_testing.h"
#include "pinion/models/vae.h"
#include "pinion/models/weights.h"

namespace pinion::models {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using namespace pinion::models::testing;  // NOLINT(google-build-using-namespace): test helpers only

std::filesystem::path scratch(const std::string& name) {
  return std::filesystem::path(::testing::TempDir()) / name;
}

// [B, C, h, w] -> [B, h*w, C], as the tokens of a picture are laid out.
Tensor by_token(const Tensor& image) {
  const Shape& s = image.shape();
  const std::vector<float> from = floats(image);
  std::vector<float> to(from.size());
  const std::int64_t pixels = s[2] * s[3];
  for (std::int64_t b = 0; b < s[0]; ++b) {
    for (std::int64_t c = 0; c < s[1]; ++c) {
      for (std::int64_t p = 0; p < pixels; ++p) {
        to[static_cast<std::size_t>((b * pixels + p) * s[1] + c)] =
            from[static_cast<std::size_t>((b * s[1] + c) * pixels + p)];
      }
    }
  }
  return Tensor::from_floats(to, {s[0], pixels, s[1]});
}

class VaeParity : public ::testing::TestWithParam<const char*> {
 protected:
  const std::filesystem::path folder_ = fixture(std::string("vae/") + GetParam());
  const TensorList reference_ = read_tensors(folder_.string() + ".safetensors");

  const Tensor& reference(const char* name) const { return *find(reference_, name); }

  void expect_parity(const Tensor& ours, const Tensor& theirs) {
    const double distance = relative_l2(ours, theirs);
    EXPECT_LE(distance, kParity);
    RecordProperty("relative_l2", std::to_string(distance * 1e6) + "e-6");
  }
};

TEST_P(VaeParity, DecodesAsDiffusersDoes) {
  const auto vae = open_vae(folder_, test_options());
  ASSERT_TRUE(vae.ok()) << vae.error().message();
  const Shape& shape = reference("z_normalised").shape();
  const auto picture = (*vae)->decode(by_token(reference("z_normalised")), {shape[2], shape[3]});
  ASSERT_TRUE(picture.ok()) << picture.error().message();
  EXPECT_EQ(picture->dtype(), DType::kF32);
  expect_parity(*picture, reference("decoded"));
  EXPECT_EQ((*vae)->pixels_per_token(), reference("sample").shape()[2] / shape[2]);
}

TEST_P(VaeParity, EncodesAsDiffusersDoes) {
  const auto vae = open_vae(folder_, test_options());
  ASSERT_TRUE(vae.ok()) << vae.error().message();
  const auto latents = (*vae)->encode(reference("sample"));
  ASSERT_TRUE(latents.ok()) << latents.error().message();
  expect_parity(*latents, by_token(reference("latent_normalised")));
}

TEST_P(VaeParity, ForwardSpeaksBothFormsOfALatent) {
  const ForwardOptions options{.stage = test_options()};
  const auto encoded = forward_vae(folder_, {{"sample", reference("sample")}}, options);
  ASSERT_TRUE(encoded.ok()) << encoded.error().message();
  EXPECT_LE(relative_l2(*find(*encoded, "latent"), reference("latent")), kParity);
  EXPECT_LE(relative_l2(*find(*encoded, "latent_normalised"), reference("latent_normalised")), kParity);
  for (const char* form : {"z", "z_normalised"}) {
    const auto decoded = forward_vae(folder_, {{"latent", reference(form)}}, options);
    ASSERT_TRUE(decoded.ok()) << decoded.error().message();
    EXPECT_LE(relative_l2(*find(*decoded, "sample"), reference("decoded")), kParity) << form;
  }
}

TEST_P(VaeParity, NamesTranslateBothWays) {
  std::ifstream file(folder_.string() + "_names.json");
  const json expected = json::parse(file);
  std::vector<std::string> diffusers, bfl;
  for (const auto& [name, other] : expected.items()) diffusers.push_back(name);
  const auto renames = vae_to_bfl_names(diffusers);
  ASSERT_TRUE(renames.ok()) << renames.error().message();
  ASSERT_EQ(renames->size(), diffusers.size());
  for (std::size_t i = 0; i < diffusers.size(); ++i) {
    EXPECT_EQ((*renames)[i].diffusers, diffusers[i]);
    EXPECT_EQ((*renames)[i].bfl, expected[diffusers[i]].get<std::string>());
    const bool is_projection =
        diffusers[i].find(".attentions.0.to_") != std::string::npos && diffusers[i].ends_with(".weight");
    EXPECT_EQ((*renames)[i].is_1x1_in_bfl, is_projection) << diffusers[i];
    bfl.push_back((*renames)[i].bfl);
  }
  EXPECT_FALSE(has_bfl_vae_names(diffusers));
  EXPECT_TRUE(has_bfl_vae_names(bfl));
  const auto back = vae_from_bfl_names(bfl);
  ASSERT_EQ(back.size(), bfl.size());
  for (std::size_t i = 0; i < bfl.size(); ++i) EXPECT_EQ(back[i].diffusers, diffusers[i]);
}

INSTANTIATE_TEST_SUITE_P(All, VaeParity, ::testing::Values("usual", "narrow_decoder", "plain"));

TEST(VaeNames, RefuseWhatIsNotOfAVae) {
  for (const char* name :
       {"decoder.up_blocks.0.resnets.0.conv3.weight", "decoder.up_blocks.x.resnets.0.conv1.weight",
        "decoder.up_blocks.99999999999999999999.resnets.0.conv1.weight",
        "decoder.up_blocks.01.resnets.0.conv1.weight", "img_in.weight", "", ".", "decoder.conv_in.scale"}) {
    const auto renames = vae_to_bfl_names({name});
    ASSERT_FALSE(renames.ok()) << name;
    EXPECT_EQ(renames.error().code, Errc::kBadFormat);
    EXPECT_TRUE(vae_from_bfl_names({name}).empty()) << name;
  }
}

TEST(VaeNames, QuantConvMayStandAtTheTopOfABflFile) {
  const auto renames = vae_from_bfl_names({"post_quant_conv.weight", "decoder.up.0.block.0.conv1.weight"});
  ASSERT_EQ(renames.size(), 2u);
  EXPECT_EQ(renames[0].diffusers, "post_quant_conv.weight");
  EXPECT_EQ(renames[0].bfl, "post_quant_conv.weight");
}

TEST(BflVae, DecodesAndEncodes) {
  const TensorList reference = read_tensors(fixture("vae/bfl_case.safetensors"));
  const ForwardOptions options{.stage = test_options()};
  const auto latent =
      forward_vae(fixture("vae/bfl.safetensors"), {{"sample", *find(reference, "sample")}}, options);
  ASSERT_TRUE(latent.ok()) << latent.error().message();
  EXPECT_LE(relative_l2(*find(*latent, "latent"), *find(reference, "latent")), kParity);
  const auto sample =
      forward_vae(fixture("vae/bfl.safetensors"), {{"latent", *find(reference, "latent")}}, options);
  ASSERT_TRUE(sample.ok()) << sample.error().message();
  EXPECT_LE(relative_l2(*find(*sample, "sample"), *find(reference, "decoded")), kParity);
}

// The tensors of the BFL fixture that `keep` wants, in a file of their own.
template <class Keep>
std::filesystem::path write_part(const std::string& name, Keep keep) {
  TensorList part;
  for (NamedTensor& tensor : read_tensors(fixture("vae/bfl.safetensors"))) {
    if (keep(tensor.name)) part.push_back(std::move(tensor));
  }
  EXPECT_TRUE(write_safetensors(scratch(name), part).ok());
  return scratch(name);
}

TEST(BflVae, WithoutItsEncoderStillDecodes) {
  const auto path = write_part("decoder_only.safetensors",
                               [](const std::string& name) { return !name.starts_with("encoder."); });
  const auto vae = open_vae(path, test_options());
  ASSERT_TRUE(vae.ok()) << vae.error().message();
  const TensorList reference = read_tensors(fixture("vae/bfl_case.safetensors"));
  const auto sample = forward_vae(path, {{"latent", *find(reference, "latent")}}, {.stage = test_options()});
  ASSERT_TRUE(sample.ok()) << sample.error().message();
  EXPECT_LE(relative_l2(*find(*sample, "sample"), *find(reference, "decoded")), kParity);

  const auto latents = (*vae)->encode(*find(reference, "sample"));
  ASSERT_FALSE(latents.ok());
  EXPECT_EQ(latents.error().code, Errc::kUnsupported);
  EXPECT_THAT(latents.error().text, HasSubstr("decoder_only.safetensors has no encoder"));
  EXPECT_EQ(
      forward_vae(path, {{"sample", *find(reference, "sample")}}, {.stage = test_options()}).error().code,
      Errc::kUnsupported);
}

TEST(BflVae, NamesWhatIsMissingOrWrong) {
  const auto without = [&](const std::string& missing) {
    return open_vae(write_part("part.safetensors",
                               [&](const std::string& name) { return !name.starts_with(missing); }),
                    test_options())
        .error();
  };
  EXPECT_EQ(without("bn.running_mean").code, Errc::kUnsupported);
  EXPECT_THAT(without("bn.running_mean").text, HasSubstr("is no FLUX.2 VAE"));
  EXPECT_THAT(without("bn.running_var").text, HasSubstr("lacks 1 tensor: bn.running_var"));
  EXPECT_THAT(without("decoder.conv_in").text, HasSubstr("is no FLUX.2 VAE"));
  EXPECT_THAT(without("decoder.conv_out").text, HasSubstr("lacks tensor 'decoder.conv_out.weight'"));
  EXPECT_THAT(without("decoder.up.0.block.1.norm2.bias").text, HasSubstr("decoder.up.0.block.1.norm2.bias"));
  EXPECT_THAT(without("decoder.mid.attn_1.proj_out").text,
              HasSubstr("lacks 2 tensors: decoder.mid.attn_1.proj_out.weight"));
  EXPECT_EQ(open_vae(fixture("vae/missing"), test_options()).error().code, Errc::kNotFound);
  EXPECT_EQ(open_vae(fixture("qwen3/tied_gqa"), test_options()).error().code, Errc::kUnsupported);
}

TEST(Vae, ConfigMustMakeSense) {
  const auto folder = scratch("vae_config");
  std::filesystem::remove_all(folder);
  std::filesystem::copy(fixture("vae/usual"), folder);
  std::ifstream file(folder / "config.json");
  const json good = json::parse(file);
  const auto with = [&](const char* key, const json& value) {
    json changed = good;
    changed[key] = value;
    std::ofstream(folder / "config.json") << changed.dump();
    return open_vae(folder, test_options()).error();
  };
  EXPECT_EQ(with("act_fn", "gelu").code, Errc::kUnsupported);
  EXPECT_THAT(with("norm_num_groups", 0).text, HasSubstr("norm_num_groups"));
  EXPECT_THAT(with("norm_num_groups", -3).text, HasSubstr("norm_num_groups"));
  EXPECT_THAT(with("norm_num_groups", 7).text, HasSubstr("do not divide into 7 norm groups"));
  EXPECT_THAT(with("batch_norm_eps", "x").text, HasSubstr("batch_norm_eps"));
  std::ofstream(folder / "config.json") << "[]";
  EXPECT_THAT(open_vae(folder, test_options()).error().text, HasSubstr("config.json is not a JSON object"));
  // Without a config the usual 32 groups are assumed, which these widths are not made for.
  std::filesystem::remove(folder / "config.json");
  EXPECT_THAT(open_vae(folder, test_options()).error().text, HasSubstr("do not divide into 32 norm groups"));
  std::filesystem::remove_all(folder);
}

TEST(Vae, HalfPrecisionStaysNear) {
  const TensorList reference = read_tensors(fixture("vae/usual.safetensors"));
  const auto decoded = forward_vae(fixture("vae/usual"), {{"latent", *find(reference, "z")}},
                                   {.stage = test_options(DType::kBF16)});
  ASSERT_TRUE(decoded.ok()) << decoded.error().message();
  EXPECT_EQ(decoded->front().tensor.dtype(), DType::kF32);
  EXPECT_LE(relative_l2(decoded->front().tensor, *find(reference, "decoded")), 0.05);
}

// The fixtures are such that a wrong constant shows far above the tolerance.
TEST(Vae, AnotherEpsilonShows) {
  const auto folder = scratch("vae_epsilon");
  std::filesystem::remove_all(folder);
  std::filesystem::copy(fixture("vae/usual"), folder);
  std::ifstream file(folder / "config.json");
  json config = json::parse(file);
  config["batch_norm_eps"] = 1e-3;
  std::ofstream(folder / "config.json") << config.dump();
  const TensorList reference = read_tensors(fixture("vae/usual.safetensors"));
  const auto encoded =
      forward_vae(folder, {{"sample", *find(reference, "sample")}}, {.stage = test_options()});
  ASSERT_TRUE(encoded.ok()) << encoded.error().message();
  EXPECT_GT(relative_l2(*find(*encoded, "latent_normalised"), *find(reference, "latent_normalised")),
            20 * kParity);
  std::filesystem::remove_all(folder);
}

TEST(Vae, RefusesWrongSizes) {
  const auto vae = open_vae(fixture("vae/usual"), test_options());
  ASSERT_TRUE(vae.ok());
  const auto zeros = [](const Shape& shape) {
    return Tensor::from_floats(std::vector<float>(static_cast<std::size_t>(shape.elements())), shape);
  };
  EXPECT_EQ((*vae)->decode(zeros({1, 4, 64}), {2, 2}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ((*vae)->decode(zeros({1, 4, 128}), {2, 3}).error().code, Errc::kInvalidArgument);
  EXPECT_THAT((*vae)->encode(zeros({1, 3, 16, 24})).error().text, HasSubstr("multiples of 16"));
  EXPECT_EQ((*vae)->encode(zeros({1, 4, 16, 16})).error().code, Errc::kInvalidArgument);
  const ForwardOptions options{.stage = test_options()};
  EXPECT_EQ(forward_vae(fixture("vae/usual"), {}, options).error().code, Errc::kInvalidArgument);
  EXPECT_THAT(forward_vae(fixture("vae/usual"), {{"latent", zeros({1, 5, 2, 2})}}, options).error().text,
              HasSubstr("neither 32 nor 128 channels"));
}

TEST(ForwardKind, IsReadFromTheFolderOrFile) {
  EXPECT_EQ(forward_kind(fixture("vae/usual")), ForwardKind::kVae);
  EXPECT_EQ(forward_kind(fixture("vae/bfl.safetensors")), ForwardKind::kVae);
  EXPECT_EQ(forward_kind(fixture("qwen3/tied_gqa")), ForwardKind::kQwen3);
  EXPECT_EQ(forward_kind(fixture("vae")), ForwardKind::kNone);
  EXPECT_EQ(forward_kind(fixture("vae/nothing")), ForwardKind::kNone);
}

}  // namespace
}  // namespace pinion::models
