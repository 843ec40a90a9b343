#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "pinion/models/forward_text_vae.h"
#include "pinion/models/parity_testing.h"
#include "pinion/models/qwen3/qwen3_config.h"
#include "pinion/models/qwen3/qwen3_model.h"
#include "pinion/models/qwen3/qwen3_prompt.h"
#include "pinion/models/text_encoder.h"

namespace pinion::models {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using namespace pinion::models::testing;  // NOLINT(google-build-using-namespace): test helpers only

json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return json::parse(file);
}

class Qwen3Parity : public ::testing::TestWithParam<const char*> {};

TEST_P(Qwen3Parity, EveryHiddenStateAndTheLogitsEqualTransformers) {
  const TensorList reference = read_tensors(fixture("qwen3/" + std::string(GetParam()) + ".safetensors"));
  const auto outputs = forward_qwen3(fixture(std::string("qwen3/") + GetParam()), reference,
                                     {.stage = test_options(), .hidden = true});
  ASSERT_TRUE(outputs.ok()) << outputs.error().message();
  ASSERT_EQ(outputs->size(), reference.size() - 2);  // all but the two inputs
  double worst = 0;
  for (const NamedTensor& output : *outputs) {
    const Tensor* expected = find(reference, output.name);
    ASSERT_NE(expected, nullptr) << output.name;
    const double distance = relative_l2(output.tensor, *expected);
    EXPECT_LE(distance, kParity) << output.name;
    worst = std::max(worst, distance);
  }
  RecordProperty("worst_relative_l2", std::to_string(worst * 1e6) + "e-6");
}

INSTANTIATE_TEST_SUITE_P(All, Qwen3Parity,
                         ::testing::Values("tied_gqa", "untied_one_kv", "untied_sharded", "left_padded"));

// The fixtures are such that a wrong constant shows far above the tolerance.
TEST(Qwen3Forward, AnotherEpsilonOrThetaShows) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "qwen3_constants";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(fixture("qwen3/untied_one_kv"), folder);
  const json good = read_json(folder / "config.json");
  const TensorList reference = read_tensors(fixture("qwen3/untied_one_kv.safetensors"));
  for (const char* change : {R"({"rms_norm_eps": 1e-6})", R"({"rope_parameters": {"rope_theta": 1e6}})"}) {
    json config = good;
    config.update(json::parse(change));
    std::ofstream(folder / "config.json") << config.dump();
    const auto outputs = forward_qwen3(folder, reference, {.stage = test_options()});
    ASSERT_TRUE(outputs.ok()) << outputs.error().message();
    EXPECT_GT(relative_l2(outputs->front().tensor, *find(reference, "logits")), 20 * kParity) << change;
  }
  std::filesystem::remove_all(folder);
}

TEST(Qwen3Forward, WithoutAMaskNothingIsPadding) {
  const TensorList reference = read_tensors(fixture("qwen3/untied_one_kv.safetensors"));
  const auto outputs =
      forward_qwen3(fixture("qwen3/untied_one_kv"), {{"input_ids", *find(reference, "input_ids")}},
                    {.stage = test_options()});
  ASSERT_TRUE(outputs.ok()) << outputs.error().message();
  ASSERT_EQ(outputs->size(), 1u);
  EXPECT_LE(relative_l2(outputs->front().tensor, *find(reference, "logits")), kParity);
}

TEST(Qwen3Forward, RefusesWrongInputs) {
  const auto run = [](const TensorList& inputs) {
    return forward_qwen3(fixture("qwen3/tied_gqa"), inputs, {.stage = test_options()}).error();
  };
  const auto integers = [](std::vector<std::int64_t> values, const Shape& shape) {
    return Tensor::copy_of({reinterpret_cast<const std::byte*>(values.data()), DType::kI64, shape, Device{}});
  };
  EXPECT_THAT(run({}).text, HasSubstr("lack input_ids"));
  EXPECT_THAT(run({{"input_ids", integers({1, 2}, {2})}}).text, HasSubstr("[batch, tokens]"));
  EXPECT_THAT(run({{"input_ids", Tensor::from_floats(std::vector<float>{1}, {1, 1})}}).text,
              HasSubstr("F32"));
  EXPECT_THAT(run({{"input_ids", integers({1, 96}, {1, 2})}}).text, HasSubstr("token id 96 is outside"));
  EXPECT_THAT(run({{"input_ids", integers({-1}, {1, 1})}}).text, HasSubstr("token id -1 is outside"));
  EXPECT_THAT(run({{"input_ids", integers({}, {1, 0})}}).text, HasSubstr("no token ids"));
  EXPECT_THAT(run({{"input_ids", integers({1}, {1, 1})}, {"attention_mask", integers({1, 1}, {1, 2})}}).text,
              HasSubstr("does not fit"));
}

TEST(Qwen3Config, NamesWhatIsWrong) {
  const json good = read_json(fixture("qwen3/tied_gqa/config.json"));
  ASSERT_TRUE(qwen3::parse_config(good).ok());
  const auto with = [&](const char* key, const json& value) {
    json changed = good;
    changed[key] = value;
    return qwen3::parse_config(changed).error();
  };
  EXPECT_EQ(with("model_type", "llama").code, Errc::kUnsupported);
  EXPECT_EQ(with("hidden_act", "gelu").code, Errc::kUnsupported);
  EXPECT_EQ(with("attention_bias", true).code, Errc::kUnsupported);
  EXPECT_EQ(with("use_sliding_window", true).code, Errc::kUnsupported);
  EXPECT_EQ(with("rope_parameters", {{"rope_type", "yarn"}}).code, Errc::kUnsupported);
  EXPECT_EQ(with("rope_scaling", {{"type", "linear"}}).code, Errc::kUnsupported);
  EXPECT_EQ(with("rope_parameters", 5).code, Errc::kBadFormat);
  EXPECT_EQ(with("rms_norm_eps", -1).code, Errc::kBadFormat);
  EXPECT_THAT(with("hidden_size", 0).text, HasSubstr("'hidden_size'"));
  EXPECT_THAT(with("hidden_size", 1e300).text, HasSubstr("'hidden_size'"));
  EXPECT_THAT(with("vocab_size", -5).text, HasSubstr("'vocab_size'"));
  EXPECT_THAT(with("num_hidden_layers", nullptr).text, HasSubstr("'num_hidden_layers'"));
  EXPECT_THAT(with("num_key_value_heads", 3).text, HasSubstr("do not divide"));
  EXPECT_THAT(with("head_dim", 7).text, HasSubstr("odd"));
}

TEST(Qwen3Config, ReadsBothSpellingsOfRope) {
  json config = read_json(fixture("qwen3/untied_one_kv/config.json"));
  EXPECT_EQ(qwen3::parse_config(config)->rope_theta, 5e6);
  config.erase("rope_parameters");
  config["rope_theta"] = 1e6;
  config["rope_scaling"] = nullptr;
  EXPECT_EQ(qwen3::parse_config(config)->rope_theta, 1e6);
}

TEST(Qwen3Weights, MustHaveTheSizesOfTheConfig) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "qwen3_other_size";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(fixture("qwen3/tied_gqa"), folder);
  json config = read_json(folder / "config.json");
  config["intermediate_size"] = 50;
  std::ofstream(folder / "config.json") << config.dump();
  const TensorList reference = read_tensors(fixture("qwen3/tied_gqa.safetensors"));
  const auto outputs = forward_qwen3(folder, reference, {.stage = test_options()});
  ASSERT_FALSE(outputs.ok());
  EXPECT_EQ(outputs.error().code, Errc::kBadFormat);
  EXPECT_THAT(outputs.error().text, HasSubstr("mlp.gate_proj.weight' has shape [48, 32], expected [50, 32]"));
  std::filesystem::remove_all(folder);
}

TEST(Qwen3Prompt, RendersAndTokenizesAsTransformersDoes) {
  const auto tokenizer = Tokenizer::open(fixture("qwen3/encoder/tokenizer/tokenizer.json"));
  ASSERT_TRUE(tokenizer.ok());
  const auto padding = qwen3::read_padding(fixture("qwen3/encoder/tokenizer"), *tokenizer);
  ASSERT_TRUE(padding.ok());
  EXPECT_FALSE(padding->on_the_left);
  bool truncated = false;
  for (const json& prompt : read_json(fixture("qwen3/encoder/prompts.json"))) {
    const auto text = prompt["prompt"].get<std::string>();
    EXPECT_EQ(qwen3::chat_text(text), prompt["text"].get<std::string>());
    const auto tokens = qwen3::prompt_tokens(*tokenizer, text, 512);
    ASSERT_TRUE(tokens.ok());
    EXPECT_EQ(*tokens, prompt["ids"].get<std::vector<TokenId>>());
    EXPECT_EQ(padding->token, prompt["pad"].get<TokenId>());
    truncated |= tokens->size() == 512;
  }
  EXPECT_TRUE(truncated);
}

// Rows [begin, begin + rows) of one prompt's embeddings.
Tensor rows_of(const Tensor& embeddings, std::int64_t prompt, std::int64_t begin, std::int64_t rows) {
  const std::int64_t channels = embeddings.shape()[2];
  const std::vector<float> all = floats(embeddings);
  const auto* from = all.data() + (prompt * embeddings.shape()[1] + begin) * channels;
  return Tensor::from_floats(std::span(from, static_cast<std::size_t>(rows * channels)), {rows, channels});
}

TEST(Qwen3TextEncoder, PaddedThroughTheEncoderEqualsDiffusers) {
  const auto encoder = open_text_encoder(fixture("qwen3/encoder"), test_options());
  ASSERT_TRUE(encoder.ok()) << encoder.error().message();
  EXPECT_EQ((*encoder)->channels(), 48);
  const json prompts = read_json(fixture("qwen3/encoder/prompts.json"));
  const auto embeddings =
      (*encoder)->encode({prompts[0]["prompt"], prompts[1]["prompt"], prompts[2]["prompt"]});
  ASSERT_TRUE(embeddings.ok()) << embeddings.error().message();
  EXPECT_EQ(embeddings->shape(), (Shape{3, 512, 48}));
  const TensorList reference = read_tensors(fixture("qwen3/encoder/embeds.safetensors"));
  EXPECT_LE(relative_l2(rows_of(*embeddings, 0, 0, 512), *find(reference, "through_encoder.0")), kParity);
  EXPECT_LE(relative_l2(rows_of(*embeddings, 2, 480, 32), *find(reference, "through_encoder.2.tail")),
            kParity);
}

TEST(Qwen3TextEncoder, PaddedAfterTheEncoderHasZerosOnTheLeft) {
  const auto encoder =
      open_text_encoder(fixture("qwen3/encoder"), test_options(), TextPadding::kAfterEncoder);
  ASSERT_TRUE(encoder.ok()) << encoder.error().message();
  const json prompts = read_json(fixture("qwen3/encoder/prompts.json"));
  const auto embeddings = (*encoder)->encode({prompts[0]["prompt"]});
  ASSERT_TRUE(embeddings.ok()) << embeddings.error().message();
  const auto tokens = static_cast<std::int64_t>(prompts[0]["ids"].size());
  for (const float value : floats(rows_of(*embeddings, 0, 0, 512 - tokens))) ASSERT_EQ(value, 0.0f);
  const TensorList reference = read_tensors(fixture("qwen3/encoder/embeds.safetensors"));
  EXPECT_LE(relative_l2(rows_of(*embeddings, 0, 512 - tokens, tokens), *find(reference, "after_encoder.0")),
            kParity);
}

TEST(Qwen3TextEncoder, HalfPrecisionStaysNear) {
  const json prompts = read_json(fixture("qwen3/encoder/prompts.json"));
  const TensorList reference = read_tensors(fixture("qwen3/encoder/embeds.safetensors"));
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const auto encoder = open_text_encoder(fixture("qwen3/encoder"), test_options(dtype));
    ASSERT_TRUE(encoder.ok()) << encoder.error().message();
    const auto embeddings = (*encoder)->encode({prompts[0]["prompt"]});
    ASSERT_TRUE(embeddings.ok()) << embeddings.error().message();
    EXPECT_EQ(embeddings->dtype(), dtype);
    // 27 random layers amplify the rounding of each; a wrong cast would be at 1.
    EXPECT_LE(relative_l2(rows_of(*embeddings, 0, 0, 512), *find(reference, "through_encoder.0")),
              dtype == DType::kBF16 ? 0.1 : 0.015);
  }
}

TEST(Qwen3TextEncoder, ReadsNoLayerBehindTheLastTap) {
  const auto weights = Weights::open(fixture("qwen3/encoder/text_encoder"));
  ASSERT_TRUE(weights.ok());
  // 28 layers, of which 27 are needed; the embeddings too, the final norm not.
  std::size_t expected = 0;
  for (const std::string& name : weights->names()) {
    if (name.find("layers.27.") == std::string::npos && name != "model.norm.weight") {
      expected += weights->entry(name)->end - weights->entry(name)->begin;
    }
  }
  const auto config = qwen3::parse_config(read_json(fixture("qwen3/encoder/text_encoder/config.json")));
  ASSERT_TRUE(config.ok());
  const auto model = qwen3::Model::load(*weights, *config, {.layers = 27, .head = false}, test_options());
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_EQ(weights->bytes_read(), expected);
}

TEST(Qwen3TextEncoder, NamesWhatIsMissing) {
  const auto none = open_text_encoder(fixture("qwen3"), test_options());
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, Errc::kNotFound);
  EXPECT_THAT(none.error().text, HasSubstr("no text_encoder folder"));

  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "qwen3_encoder";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(fixture("qwen3/encoder"), folder, std::filesystem::copy_options::recursive);
  json config = read_json(folder / "text_encoder/config.json");
  config["model_type"] = "mistral";
  std::ofstream(folder / "text_encoder/config.json") << config.dump();
  EXPECT_THAT(open_text_encoder(folder, test_options()).error().text, HasSubstr("'mistral'"));
  config["model_type"] = "qwen3";
  config["num_hidden_layers"] = 27;
  std::ofstream(folder / "text_encoder/config.json") << config.dump();
  EXPECT_THAT(open_text_encoder(folder, test_options()).error().text, HasSubstr("27 layers"));
  std::filesystem::copy(fixture("qwen3/encoder/text_encoder/config.json"),
                        folder / "text_encoder/config.json",
                        std::filesystem::copy_options::overwrite_existing);
  std::ofstream(folder / "tokenizer/tokenizer_config.json") << R"({"pad_token": {"content": "<nothing>"}})";
  EXPECT_THAT(open_text_encoder(folder, test_options()).error().text, HasSubstr("padding token '<nothing>'"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace pinion::models
