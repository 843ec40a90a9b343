// FLUX.2 against diffusers' Flux2Transformer2DModel on random models: tools/make_flux2_fixtures.py.

#include "pinion/models/flux2/flux2_test_support.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::flux2 {
namespace {

// Float32 without TF32, on every device: what is left is the order of summation.
constexpr double kTolerance = 2e-5;

// Where a mistake must show to count as visible.
constexpr double kVisible = 0.01;

class Flux2Parity : public ::testing::TestWithParam<FixtureCase> {};

TEST_P(Flux2Parity, EveryHiddenStateAndTheOutputAgree) {
  auto model = must(open_model(model_path(GetParam())));
  const auto ours = evaluate(*model, read_call(*model, GetParam().name), DType::kF32);
  const TensorList expected = read_file_tensors(fixture_folder(GetParam().name) / "expected.safetensors");
  ASSERT_EQ(expected.size(), ours.size());
  for (const NamedTensor& entry : expected) {
    const auto found = ours.find(entry.name);
    ASSERT_NE(found, ours.end()) << entry.name;
    ASSERT_EQ(found->second.sizes(), to_torch(entry.tensor).sizes()) << entry.name;
    EXPECT_LE(relative_error(found->second, to_torch(entry.tensor)), kTolerance) << entry.name;
  }
}

TEST_P(Flux2Parity, HalfPrecisionStaysNear) {
  auto model = must(open_model(model_path(GetParam())));
  const ForwardCall call = read_call(*model, GetParam().name);
  const at::Tensor expected =
      to_torch(*find(read_file_tensors(fixture_folder(GetParam().name) / "expected.safetensors"), "sample"));
  EXPECT_LE(relative_error(evaluate(*model, call, DType::kBF16)["sample"], expected), 0.05);
  EXPECT_LE(relative_error(evaluate(*model, call, DType::kF16)["sample"], expected), 0.01);
}

TEST_P(Flux2Parity, VelocityIsOfThePictureAloneUnlessAskedForMore) {
  auto model = must(open_model(model_path(GetParam())));
  ForwardCall call = read_call(*model, GetParam().name);
  const at::Tensor all = evaluate(*model, call, DType::kF32)["sample"];
  call.constants.velocity_of_references = false;
  const at::Tensor picture = evaluate(*model, call, DType::kF32)["sample"];
  EXPECT_TRUE(at::allclose(picture, all.narrow(1, 0, call.constants.grid.tokens()), 1e-5, 1e-5));
}

INSTANTIATE_TEST_SUITE_P(AllCases, Flux2Parity, ::testing::ValuesIn(all_cases()),
                         [](const auto& tested) { return tested.param.name; });

// Mistakes that an implementation could make, as changes of the weights that have the same effect. Each must
// move the output visibly, else the parity tests above would not see the mistake.
struct Mistake {
  std::string name;
  std::function<void(EditableWeights&)> make;
};

at::Tensor swapped_halves(const at::Tensor& x) {
  const auto halves = x.chunk(2, 0);
  return at::cat({halves[1], halves[0]}, 0);
}

std::vector<Mistake> mistakes() {
  const auto swap = [](const std::string& a, const std::string& b) {
    return [a, b](EditableWeights& w) { std::swap(w.at(a), w.at(b)); };
  };
  const auto halves = [](const std::string& name) {
    return [name](EditableWeights& w) { w.at(name) = swapped_halves(w.at(name)); };
  };
  // Exchanges thirds or sixths of a fused weight.
  const auto parts = [](const std::string& name, std::int64_t count, std::size_t a, std::size_t b) {
    return [=](EditableWeights& w) {
      auto chunks = w.at(name).chunk(count, 0);
      std::swap(chunks[a], chunks[b]);
      w.at(name) = at::cat(chunks, 0);
    };
  };
  const std::string block = "double_blocks.0.";
  return {
      {"FinalHalvesSwapped", halves("final_layer.adaLN_modulation.1.weight")},
      {"GateAndValueOfMlpSwapped", halves(block + "img_mlp.0.weight")},
      {"GateAndValueOfTextMlpSwapped", halves(block + "txt_mlp.0.weight")},
      {"QueryAndKeyNormSwapped",
       swap(block + "img_attn.norm.query_norm.scale", block + "img_attn.norm.key_norm.scale")},
      {"TextQueryAndKeyNormSwapped",
       swap(block + "txt_attn.norm.query_norm.scale", block + "txt_attn.norm.key_norm.scale")},
      {"SingleQueryAndKeyNormSwapped",
       swap("single_blocks.0.norm.query_norm.scale", "single_blocks.0.norm.key_norm.scale")},
      {"QueryAndKeySwapped", parts(block + "img_attn.qkv.weight", 3, 0, 1)},
      {"KeyAndValueSwapped", parts(block + "txt_attn.qkv.weight", 3, 1, 2)},
      {"ShiftAndScaleSwapped", parts("double_stream_modulation_img.lin.weight", 6, 0, 1)},
      {"GatesSwapped", parts("double_stream_modulation_txt.lin.weight", 6, 2, 5)},
      {"SingleScaleAndGateSwapped", parts("single_stream_modulation.lin.weight", 3, 1, 2)},
      {"ImageAndTextModulationSwapped",
       swap("double_stream_modulation_img.lin.weight", "double_stream_modulation_txt.lin.weight")},
      {"SineAndCosineSwapped",
       [](EditableWeights& w) {
         w.at("time_in.in_layer.weight") =
             swapped_halves(w.at("time_in.in_layer.weight").t()).t().contiguous();
       }},
      {"AttentionAndMlpOfASingleBlockSwapped",
       [](EditableWeights& w) {
         at::Tensor& out = w.at("single_blocks.0.linear2.weight");
         out = out.roll({out.size(0)}, {1});
       }},
  };
}

class Flux2Mistakes : public ::testing::TestWithParam<Mistake> {};

TEST_P(Flux2Mistakes, MovesTheOutput) {
  const FixtureCase fixture{"klein_bfl_batch"};
  const TemporaryFolder folder;
  EditableWeights weights = read_weights(model_path(fixture));
  GetParam().make(weights);
  write_weights(folder / "model.safetensors", weights);
  auto model = must(open_model(folder / "model.safetensors"));
  const auto ours = evaluate(*model, read_call(*model, fixture.name), DType::kF32);
  const TensorList expected = read_file_tensors(fixture_folder(fixture.name) / "expected.safetensors");
  EXPECT_GT(relative_error(ours.at("sample"), to_torch(*find(expected, "sample"))), kVisible);
}

INSTANTIATE_TEST_SUITE_P(AllMistakes, Flux2Mistakes, ::testing::ValuesIn(mistakes()),
                         [](const auto& tested) { return tested.param.name; });

TEST(Flux2Guidance, MovesTheOutput) {
  const FixtureCase fixture{"dev_prefixed_batch"};
  auto model = must(open_model(model_path(fixture)));
  ForwardCall call = read_call(*model, fixture.name);
  const at::Tensor before = evaluate(*model, call, DType::kF32)["sample"];
  call.constants.guidance = {1.0f, 1.0f};
  EXPECT_GT(relative_error(evaluate(*model, call, DType::kF32)["sample"], before), kVisible);
}

}  // namespace
}  // namespace pinion::models::flux2
