// Checkpoints and inputs that are not what they should be: one clear error each, never a wrong result.

#include <gmock/gmock.h>

#include <fstream>

#include "pinion/models/flux2/flux2_test_support.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::flux2 {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const FixtureCase kPlain{"klein_bfl_batch"};

Error open_error(const fs::path& path) {
  auto model = open_model(path);
  if (model.ok()) throw std::runtime_error(path.string() + " was opened");
  return std::move(model).error();
}

// The error from opening the plain fixture after a change of its tensors.
Error error_after(const std::function<void(EditableWeights&)>& change,
                  const std::map<std::string, std::string>& metadata = {}) {
  const TemporaryFolder folder;
  EditableWeights weights = read_weights(model_path(kPlain));
  change(weights);
  write_weights(folder / "model.safetensors", weights, metadata);
  return open_error(folder / "model.safetensors");
}

TEST(Flux2Damage, MissingTensorsAreCountedAndNamed) {
  const Error error = error_after([](EditableWeights& w) {
    w.erase("double_blocks.0.img_mlp.0.weight");
    w.erase("double_blocks.0.txt_attn.qkv.weight");
    w.erase("single_blocks.1.norm.key_norm.scale");
  });
  EXPECT_EQ(error.code, Errc::kNotFound);
  EXPECT_THAT(error.text, AllOf(HasSubstr("lacks 3 tensors"), HasSubstr("double_blocks.0.img_mlp.0.weight"),
                                HasSubstr("single_blocks.1.norm.key_norm.scale")));
  EXPECT_FALSE(error.hint.empty());
}

TEST(Flux2Damage, ATensorThatTheSizesAreReadFromIsMissing) {
  const Error error = error_after([](EditableWeights& w) { w.erase("txt_in.weight"); });
  EXPECT_EQ(error.code, Errc::kNotFound);
  EXPECT_THAT(error.text, HasSubstr("txt_in.weight"));
}

TEST(Flux2Damage, ABlockThatIsMissingInTheMiddleIsNotSkipped) {
  const Error error = error_after([](EditableWeights& w) {
    std::erase_if(w, [](const auto& entry) { return entry.first.starts_with("single_blocks.1."); });
  });
  EXPECT_EQ(error.code, Errc::kUnsupported);
  EXPECT_THAT(error.text, HasSubstr("single_blocks.2."));
}

TEST(Flux2Damage, ATensorThatIsNoPartOfTheModelIsNotIgnored) {
  const Error error =
      error_after([](EditableWeights& w) { w["img_in.bias"] = at::zeros({32}, at::kBFloat16); });
  EXPECT_EQ(error.code, Errc::kUnsupported);
  EXPECT_THAT(error.text, HasSubstr("img_in.bias"));
}

TEST(Flux2Damage, AWrongShapeIsNamedWithTheRightOne) {
  const Error error = error_after([](EditableWeights& w) {
    w["double_blocks.0.img_attn.proj.weight"] = at::zeros({32, 31}, at::kBFloat16);
  });
  EXPECT_EQ(error.code, Errc::kBadFormat);
  EXPECT_THAT(error.text, AllOf(HasSubstr("double_blocks.0.img_attn.proj.weight"), HasSubstr("[32, 31]"),
                                HasSubstr("[32, 32]")));
}

TEST(Flux2Damage, SizesThatDoNotFitTogetherAreRefused) {
  const auto set = [](const std::string& name, at::IntArrayRef shape) {
    const std::vector<std::int64_t> extents = shape.vec();
    return [=](EditableWeights& w) { w[name] = at::zeros(extents, at::kBFloat16); };
  };
  // A head width that is no multiple of 8, one that does not divide the width, no rows, a scalar, another
  // rank.
  EXPECT_EQ(error_after(set("double_blocks.0.img_attn.norm.query_norm.scale", {4})).code, Errc::kUnsupported);
  EXPECT_EQ(error_after(set("double_blocks.0.img_attn.norm.query_norm.scale", {24})).code,
            Errc::kUnsupported);
  EXPECT_EQ(error_after(set("double_blocks.0.img_attn.norm.query_norm.scale", {0})).code, Errc::kBadFormat);
  EXPECT_EQ(error_after(set("img_in.weight", {})).code, Errc::kBadFormat);
  EXPECT_EQ(error_after(set("time_in.in_layer.weight", {32, 256, 1})).code, Errc::kBadFormat);
  EXPECT_EQ(error_after(set("time_in.in_layer.weight", {32, 255})).code, Errc::kUnsupported);
  EXPECT_EQ(error_after(set("final_layer.linear.weight", {8, 32})).code, Errc::kUnsupported);
}

TEST(Flux2Damage, AnIntegerWeightIsRefused) {
  const Error error = error_after([](EditableWeights& w) {
    at::Tensor& weight = w.at("single_blocks.0.linear1.weight");
    weight = at::zeros(weight.sizes(), at::kChar);
  });
  EXPECT_EQ(error.code, Errc::kUnsupported);
  EXPECT_THAT(error.text, AllOf(HasSubstr("single_blocks.0.linear1.weight"), HasSubstr("I8")));
}

TEST(Flux2Damage, AQuantisedFormatThatIsNotKnownIsNamed) {
  const std::string note = R"({"format": "nvfp4"})";
  const Error by_tensor = error_after([&](EditableWeights& w) {
    at::Tensor bytes = at::empty({static_cast<std::int64_t>(note.size())}, at::kByte);
    std::copy(note.begin(), note.end(), static_cast<char*>(bytes.mutable_data_ptr()));
    w["single_blocks.0.linear1.comfy_quant"] = bytes;
  });
  EXPECT_EQ(by_tensor.code, Errc::kUnsupported);
  EXPECT_THAT(by_tensor.text, HasSubstr("nvfp4"));
  const Error by_metadata = error_after(
      [](EditableWeights&) {},
      {{"_quantization_metadata",
        R"({"format_version": "1.0", "layers": {"single_blocks.0.linear1": {"format": "mxfp8"}}})"}});
  EXPECT_EQ(by_metadata.code, Errc::kUnsupported);
  EXPECT_THAT(by_metadata.text, HasSubstr("mxfp8"));
  EXPECT_EQ(error_after([](EditableWeights&) {}, {{"_quantization_metadata", "{"}}).code, Errc::kBadFormat);
}

TEST(Flux2Damage, EveryTruncationOfAFileIsAnError) {
  const TemporaryFolder folder;
  const Bytes whole = must(read_file(model_path(kPlain), 1 << 20));
  for (const std::size_t kept : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{1000},
                                 whole.size() / 2, whole.size() - 1}) {
    must(write_file(folder / "model.safetensors", ByteSpan(whole).first(kept)));
    EXPECT_EQ(open_error(folder / "model.safetensors").code, Errc::kBadFormat) << kept;
  }
}

TEST(Flux2Damage, AnUnknownDtypeIsNamed) {
  const TemporaryFolder folder;
  Bytes file = must(read_file(model_path(kPlain), 1 << 20));
  std::string text(as_text(file));
  text.replace(text.find("\"BF16\""), 6, "\"QQ16\"");
  must(write_file(folder / "model.safetensors", as_bytes(text)));
  const Error error = open_error(folder / "model.safetensors");
  EXPECT_EQ(error.code, Errc::kUnsupported);
  EXPECT_THAT(error.text, HasSubstr("QQ16"));
}

TEST(Flux2Damage, WhatIsNotThereOrNoSafetensorsFileIsSaid) {
  const TemporaryFolder folder;
  EXPECT_EQ(open_error(folder / "nothing").code, Errc::kNotFound);
  EXPECT_EQ(open_error(folder.path()).code, Errc::kNotFound);
  std::ofstream(folder / "model.gguf") << "GGUF";
  EXPECT_EQ(open_error(folder / "model.gguf").code, Errc::kUnsupported);
}

TEST(Flux2Damage, AMissingOrForeignShardIsNamed) {
  const TemporaryFolder folder;
  fs::copy(fixture_folder("dev_sharded_references"), folder / "model", fs::copy_options::recursive);
  const fs::path transformer = folder / "model" / "transformer";
  const std::string shard = "diffusion_pytorch_model-00003-of-00005.safetensors";
  fs::rename(transformer / shard, transformer / "gone");
  const Error missing = open_error(folder / "model");
  EXPECT_EQ(missing.code, Errc::kNotFound);
  EXPECT_THAT(missing.text, HasSubstr(shard));
  fs::copy_file(transformer / "diffusion_pytorch_model-00002-of-00005.safetensors", transformer / shard);
  const Error foreign = open_error(folder / "model");
  EXPECT_EQ(foreign.code, Errc::kBadFormat);
  EXPECT_THAT(foreign.text, AllOf(HasSubstr(shard), HasSubstr("promises")));
}

TEST(Flux2Damage, AnotherFamilyIsRecognised) {
  const auto describe = [](const std::vector<std::string>& names) {
    const TemporaryFolder folder;
    EditableWeights weights;
    for (const std::string& name : names) weights[name] = at::zeros({2, 2}, at::kFloat);
    write_weights(folder / "model.safetensors", weights);
    const Error error = open_error(folder / "model.safetensors");
    EXPECT_EQ(error.code, Errc::kUnsupported);
    EXPECT_THAT(error.hint, HasSubstr("flux2"));
    return error.text;
  };
  EXPECT_THAT(describe({"double_blocks.0.img_mod.lin.weight", "img_in.weight"}), HasSubstr("FLUX.1"));
  EXPECT_THAT(describe({"model.diffusion_model.input_blocks.0.0.weight"}), HasSubstr("Stable Diffusion"));
  EXPECT_THAT(describe({"model.layers.0.self_attn.q_proj.weight"}), HasSubstr("text encoder"));
  EXPECT_THAT(describe({"decoder.conv_in.weight"}), HasSubstr("a VAE"));
  EXPECT_THAT(describe({"diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight"}), HasSubstr("LoRA"));
  EXPECT_THAT(describe({"something.weight"}), HasSubstr("something.weight"));
}

TEST(Flux2Damage, BlocksThatDoNotExistAreRefused) {
  auto model = must(open_model(model_path(kPlain)));
  for (const BlockRange range :
       {BlockRange{-1, 2}, BlockRange{0, 5}, BlockRange{2, 2}, BlockRange{3, 1}, BlockRange{4, 5}}) {
    const auto stage = model->load_stage(range, {});
    ASSERT_FALSE(stage.ok());
    EXPECT_EQ(stage.error().code, Errc::kInvalidArgument);
  }
  EXPECT_EQ(model->load_stage({0, 1}, {.device = {}, .dtype = DType::kF8E4M3}).error().code,
            Errc::kInvalidArgument);
  EXPECT_FALSE(model->load_stage({0, 1}, {.device = {Device::Kind::kCuda, 99}, .dtype = DType::kF32}).ok());
}

// Inputs of a stage, right until one thing is changed.
class Flux2Inputs : public ::testing::Test {
 protected:
  Flux2Inputs() : model_(must(open_model(model_path(kPlain)))), call_(read_call(*model_, kPlain.name)) {}

  std::unique_ptr<StageJob> begin(BlockRange range) {
    auto stage = must(model_->load_stage(range, {test_device(), DType::kF32}));
    return must(stage->begin_job(call_.constants));
  }

  // The error's text from beginning a job after a change of its constants.
  std::string constants_error(const std::function<void(JobConstants&)>& change) {
    auto stage = must(model_->load_stage({0, 1}, {test_device(), DType::kF32}));
    JobConstants constants = call_.constants;
    change(constants);
    const auto job = stage->begin_job(constants);
    EXPECT_FALSE(job.ok());
    if (job.ok()) return "";
    EXPECT_EQ(job.error().code, Errc::kInvalidArgument);
    return job.error().text;
  }

  // The error's text from a step after a change of its input.
  std::string step_error(BlockRange range, StepInput input, const std::function<void(StepInput&)>& change) {
    const auto job = begin(range);
    EXPECT_TRUE(job->step(input).ok());
    change(input);
    const auto output = job->step(input);
    EXPECT_FALSE(output.ok());
    if (output.ok()) return "";
    EXPECT_EQ(output.error().code, Errc::kInvalidArgument);
    return output.error().text;
  }

  Tensor zeros(const Shape& shape, DType dtype = DType::kF32) {
    Tensor tensor = Tensor::empty(dtype, shape);
    std::fill_n(tensor.mutable_data(), tensor.bytes(), std::byte{0});
    return tensor;
  }

  std::unique_ptr<Model> model_;
  ForwardCall call_;
};

TEST_F(Flux2Inputs, ConstantsAreChecked) {
  EXPECT_THAT(constants_error([](JobConstants& c) { c.batch = 0; }), HasSubstr("batch of 0"));
  EXPECT_THAT(constants_error([](JobConstants& c) { c.batch = 3; }), HasSubstr("text embedding"));
  EXPECT_THAT(constants_error([](JobConstants& c) { c.grid = {0, 4}; }), HasSubstr("0x4"));
  EXPECT_THAT(constants_error([](JobConstants& c) {
                c.grid = {INT64_MAX, INT64_MAX};
              }),
              HasSubstr("not possible"));
  EXPECT_THAT(constants_error([](JobConstants& c) { c.text_tokens = INT64_MAX; }), HasSubstr("not possible"));
  EXPECT_THAT(constants_error([](JobConstants& c) { c.text_tokens = 6; }), HasSubstr("[2, 6, 24]"));
  EXPECT_THAT(constants_error([](JobConstants& c) { c.context = Tensor(); }), HasSubstr("missing"));
  EXPECT_THAT(constants_error([&](JobConstants& c) {
                c.context = zeros({2, 5, 23});
              }),
              HasSubstr("[2, 5, 24]"));
  EXPECT_THAT(constants_error([&](JobConstants& c) {
                c.context = zeros({2, 5, 24}, DType::kI32);
              }),
              HasSubstr("I32"));
  EXPECT_THAT(constants_error([](JobConstants& c) { c.guidance = {1.0f, 1.0f}; }), HasSubstr("guidance"));
  EXPECT_THAT(constants_error([](JobConstants& c) {
                c.references = {{2, 2}};
              }),
              HasSubstr("reference latents is missing"));
  EXPECT_THAT(constants_error([&](JobConstants& c) {
                c.reference_latents = zeros({2, 4, 4});
              }),
              HasSubstr("without reference"));
  EXPECT_THAT(constants_error([](JobConstants& c) { c.references.assign(65, {1, 1}); }), HasSubstr("65"));
}

TEST_F(Flux2Inputs, LatentsAreChecked) {
  const auto error = [&](const std::function<void(StepInput&)>& change) {
    return step_error({0, 1}, call_.input, change);
  };
  EXPECT_THAT(error([](StepInput& i) { i.sigma = {0.5f}; }), HasSubstr("1 noise levels"));
  EXPECT_THAT(error([](StepInput& i) { i.sigma = {0.5f, 1.5f}; }), HasSubstr("between 0 and 1"));
  EXPECT_THAT(error([](StepInput& i) {
                i.sigma = {0.5f, std::numeric_limits<float>::quiet_NaN()};
              }),
              HasSubstr("between 0 and 1"));
  EXPECT_THAT(error([](StepInput& i) { i.state.clear(); }), HasSubstr("0 tensors"));
  EXPECT_THAT(error([](StepInput& i) { i.state[0].name = "image"; }), HasSubstr("'latents'"));
  EXPECT_THAT(error([&](StepInput& i) { i.state[0].tensor = zeros({2, 7, 4}); }), HasSubstr("[2, 8, 4]"));
  EXPECT_THAT(error([&](StepInput& i) {
                i.state[0].tensor = zeros({2, 8, 4}, DType::kF64);
              }),
              HasSubstr("F64"));
}

TEST_F(Flux2Inputs, StatesAreChecked) {
  StepInput input{.sigma = {0.5f, 0.5f},
                  .state = {{"image", zeros({2, 8, 32})}, {"text", zeros({2, 5, 32})}}};
  const auto error = [&](const std::function<void(StepInput&)>& change) {
    return step_error({2, 4}, input, change);
  };
  EXPECT_THAT(error([](StepInput& i) { i.state.pop_back(); }), HasSubstr("cut 2 has 1 tensors"));
  EXPECT_THAT(error([](StepInput& i) { i.state[1].name = "txt"; }), HasSubstr("'text'"));
  EXPECT_THAT(error([&](StepInput& i) { i.state[0].tensor = zeros({2, 8, 31}); }), HasSubstr("[2, 8, 32]"));
  EXPECT_THAT(error([&](StepInput& i) { i.state[1].tensor = zeros({2, 6, 32}); }), HasSubstr("[2, 5, 32]"));
  EXPECT_THAT(error([&](StepInput& i) {
                i.state[0].tensor = zeros({2, 8, 32}, DType::kBF16);
              }),
              HasSubstr("BF16"));
}

TEST_F(Flux2Inputs, ACallThatIsNotOfWholeGridsIsRefused) {
  const auto error = [&](const std::string& name, const std::function<at::Tensor(at::Tensor)>& change) {
    TensorList arguments = read_file_tensors(fixture_folder(kPlain.name) / "arguments.safetensors");
    for (NamedTensor& entry : arguments) {
      if (entry.name == name) entry.tensor = from_torch(change(to_torch(entry.tensor).clone()));
    }
    const auto call = find_family("flux2")->read_forward_call(model_->info(), arguments);
    EXPECT_FALSE(call.ok());
    if (call.ok()) return std::string();
    EXPECT_EQ(call.error().code, Errc::kInvalidArgument);
    return call.error().text;
  };
  EXPECT_THAT(error("img_ids", [](at::Tensor ids) { return ids.flip({0}); }), HasSubstr("whole grids"));
  EXPECT_THAT(error("img_ids",
                    [](at::Tensor ids) {
                      ids[3][1] = -5;
                      return ids;
                    }),
              HasSubstr("whole grids"));
  EXPECT_THAT(error("img_ids",
                    [](at::Tensor ids) {
                      ids[7][2] = INT64_MAX;
                      return ids;
                    }),
              HasSubstr("whole grids"));
  EXPECT_THAT(error("img_ids", [](at::Tensor ids) { return ids.narrow(0, 0, 7); }), HasSubstr("7 rows"));
  EXPECT_THAT(error("img_ids", [](at::Tensor ids) { return ids.narrow(1, 0, 3); }), HasSubstr("3 axes"));
  EXPECT_THAT(error("img_ids",
                    [](at::Tensor ids) {
                      return at::stack({ids, ids + 1});
                    }),
              HasSubstr("differs"));
  EXPECT_THAT(error("txt_ids", [](at::Tensor ids) { return ids + 1; }), HasSubstr("txt_ids"));
  EXPECT_THAT(error("timestep", [](at::Tensor t) { return at::cat({t, t}); }), HasSubstr("4 values"));
  EXPECT_THAT(error("hidden_states", [](at::Tensor x) { return x[0]; }), HasSubstr("hidden_states"));
}

}  // namespace
}  // namespace pinion::models::flux2
