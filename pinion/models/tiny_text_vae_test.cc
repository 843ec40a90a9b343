// The trained tiny model against diffusers' own pipeline (tests/fixtures/tiny): everything before and after
// the diffusion model itself.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pinion/models/parity_testing.h"
#include "pinion/models/qwen3/qwen3_prompt.h"
#include "pinion/models/sampling.h"
#include "pinion/models/text_encoder.h"
#include "pinion/models/vae.h"

namespace pinion::models {
namespace {

using namespace pinion::models::testing;  // NOLINT(google-build-using-namespace): test helpers only

const std::filesystem::path kModel = std::filesystem::path(PINION_SOURCE_DIR) / "models/tiny-flux2";

class TinyModel : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto file = SafetensorsFile::open(fixture(std::string("tiny/") + GetParam() + ".safetensors"));
    ASSERT_TRUE(file.ok()) << file.error().message();
    settings_ = file->header().metadata;
    for (const SafetensorsEntry& entry : file->header().entries)
      reference_.push_back({entry.name, file->tensor(entry)});
  }

  const Tensor* reference(const char* name) const { return find(reference_, name); }
  std::int64_t setting(const char* name) const { return std::stoll(settings_.at(name)); }
  LatentGrid grid() const { return {setting("height") / 16, setting("width") / 16}; }

  std::map<std::string, std::string> settings_;
  TensorList reference_;
};

TEST_P(TinyModel, TokensAreExact) {
  const Tensor* ids = reference("input_ids");
  if (ids == nullptr) GTEST_SKIP() << "this reference has no token ids";
  ASSERT_NE(reference("attention_mask"), nullptr);
  const auto tokenizer = Tokenizer::open(kModel / "tokenizer/tokenizer.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message();
  const auto padding = qwen3::read_padding(kModel / "tokenizer", *tokenizer);
  ASSERT_TRUE(padding.ok()) << padding.error().message();
  auto tokens = qwen3::prompt_tokens(*tokenizer, settings_.at("prompt"), 512);
  ASSERT_TRUE(tokens.ok());
  const auto* mask = reinterpret_cast<const std::int32_t*>(reference("attention_mask")->view().data);
  EXPECT_EQ(std::count(mask, mask + 512, 1), static_cast<std::ptrdiff_t>(tokens->size()));
  tokens->resize(512, padding->token);
  const auto* expected = reinterpret_cast<const std::int32_t*>(ids->view().data);
  EXPECT_EQ(*tokens, std::vector<TokenId>(expected, expected + 512));
}

TEST_P(TinyModel, PromptEmbeddingsEqualDiffusers) {
  const Tensor* through = reference("prompt_embeds");
  const Tensor* bare = reference("prompt_rows");  // ComfyUI's layout without its zeros
  if (through == nullptr && bare == nullptr) GTEST_SKIP() << "this reference has no embeddings";
  const auto encoder = open_text_encoder(
      kModel, test_options(), through != nullptr ? TextPadding::kThroughEncoder : TextPadding::kAfterEncoder);
  ASSERT_TRUE(encoder.ok()) << encoder.error().message();
  const auto embeddings = (*encoder)->encode({settings_.at("prompt")});
  ASSERT_TRUE(embeddings.ok()) << embeddings.error().message();
  if (through != nullptr) {
    const double distance = relative_l2(*embeddings, *through);
    EXPECT_LE(distance, kParity);
    RecordProperty("relative_l2", std::to_string(distance * 1e6) + "e-6");
    return;
  }
  const std::vector<float> all = floats(*embeddings);
  const std::size_t zeros = all.size() - static_cast<std::size_t>(bare->elements());
  EXPECT_TRUE(std::all_of(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(zeros),
                          [](float v) { return v == 0; }));
  const Tensor rows = Tensor::from_floats(std::span(all).subspan(zeros), bare->shape());
  EXPECT_LE(relative_l2(rows, *bare), kParity);
}

TEST_P(TinyModel, NoiseAndNoiseLevelsAreDiffusers) {
  const std::vector<double> sigmas = flux2_sigmas(grid().tokens(), static_cast<int>(setting("steps")));
  ASSERT_NE(reference("sigmas"), nullptr);
  const std::vector<float> expected_sigmas = floats(*reference("sigmas"));
  ASSERT_EQ(sigmas.size(), expected_sigmas.size());
  for (std::size_t i = 0; i < sigmas.size(); ++i)
    EXPECT_EQ(static_cast<float>(sigmas[i]), expected_sigmas[i]);

  const Tensor* expected = reference("noise");  // [1, 128, h, w]
  if (expected == nullptr) GTEST_SKIP() << "this reference has no noise";
  const std::vector<float> noise =
      floats(initial_noise(static_cast<std::uint64_t>(setting("seed")), 1, 128, grid()));
  const std::vector<float> drawn = floats(*expected);
  const auto tokens = static_cast<std::size_t>(grid().tokens());
  ASSERT_EQ(noise.size(), drawn.size());
  for (std::size_t c = 0; c < 128; ++c) {
    for (std::size_t t = 0; t < tokens; ++t) ASSERT_NEAR(noise[t * 128 + c], drawn[c * tokens + t], 1e-5f);
  }
}

TEST_P(TinyModel, DecodesToDiffusersPicture) {
  const auto vae = open_vae(kModel, test_options());
  ASSERT_TRUE(vae.ok()) << vae.error().message();
  ASSERT_NE(reference("final"), nullptr);
  ASSERT_NE(reference("image"), nullptr);
  const auto decoded = (*vae)->decode(*reference("final"), grid());
  ASSERT_TRUE(decoded.ok()) << decoded.error().message();
  const std::vector<float> pixels = floats(*decoded);
  const auto* expected = reinterpret_cast<const std::uint8_t*>(reference("image")->view().data);  // [h, w, 3]
  const std::size_t count = pixels.size() / 3;
  ASSERT_EQ(reference("image")->bytes(), pixels.size());
  double squares = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t p = 0; p < count; ++p) {
      const double level = std::round(std::clamp(pixels[c * count + p] / 2 + 0.5f, 0.0f, 1.0f) * 255.0f);
      squares += (level - expected[p * 3 + c]) * (level - expected[p * 3 + c]);
    }
  }
  const double psnr_db =
      10 * std::log10(255.0 * 255.0 * static_cast<double>(pixels.size()) / std::max(squares, 1e-9));
  EXPECT_GE(psnr_db, 60.0);
  RecordProperty("psnr_db", std::to_string(psnr_db));
}

TEST_P(TinyModel, EncodesWhatItDecodes) {
  if (std::string_view(GetParam()) != "small") GTEST_SKIP() << "one picture is enough";
  const auto vae = open_vae(kModel, test_options());
  ASSERT_TRUE(vae.ok()) << vae.error().message();
  ASSERT_NE(reference("final"), nullptr);
  const auto picture = (*vae)->decode(*reference("final"), grid());
  ASSERT_TRUE(picture.ok());
  const auto latents = (*vae)->encode(*picture);
  ASSERT_TRUE(latents.ok()) << latents.error().message();
  EXPECT_LE(relative_l2(*latents, *reference("final")),
            0.5);  // a lossy autoencoder: only the way there and back
}

// The other references may leave out what they share with this one.
TEST(TinyModelReference, SquareHasEverything) {
  const TensorList reference = read_tensors(fixture("tiny/square.safetensors"));
  for (const char* name :
       {"input_ids", "attention_mask", "prompt_embeds", "noise", "sigmas", "final", "image"}) {
    EXPECT_NE(find(reference, name), nullptr) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyModel, ::testing::Values("square", "wide", "small", "left"));

}  // namespace
}  // namespace pinion::models
