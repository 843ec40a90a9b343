// `pinion generate` and `pinion forward` as a user runs them: files written, figures in the report, exit
// codes and the one line that says what is wrong.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "pinion/base/file_io.h"
#include "pinion/base/safetensors.h"
#include "pinion/pipeline/picture.h"
#include "tests/support/worker_process.h"

namespace pinion {
namespace {

using test::ProcessResult;
using testing::HasSubstr;

const std::string kModel = std::string(PINION_SOURCE_DIR) + "/models/tiny-flux2";
constexpr std::chrono::milliseconds kLimit{120'000};
constexpr std::chrono::milliseconds kErrorLimit{
    15'000};  // 5 s on a machine that is not busy with other tests

class GenerateProgram : public testing::Test {
 protected:
  const std::string home_ =
      test::scratch_folder(testing::UnitTest::GetInstance()->current_test_info()->name());

  ProcessResult run(std::vector<std::string> arguments, std::chrono::milliseconds limit = kLimit) const {
    arguments.insert(arguments.begin(), test::pinion_program());
    return test::run_process(arguments, test::settings_in(home_ + "/client"), limit);
  }

  // A small, quick job; a flag in `more` replaces the one given here.
  std::vector<std::string> generate(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments{"generate"};
    const std::vector<std::pair<std::string, std::string>> usual{
        {"--model", kModel},
        {"--prompt", "a green star on a white background"},
        {"--size", "64x64"},
        {"--steps", "2"},
        {"--device", test::test_device()},
        {"--dtype", "fp32"},
        {"--out", home_ + "/picture.png"}};
    for (const auto& [flag, value] : usual) {
      if (std::find(more.begin(), more.end(), flag) == more.end())
        arguments.insert(arguments.end(), {flag, value});
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  void expect_error(const ProcessResult& result, int exit_code, const std::string& text) const {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_FALSE(std::filesystem::exists(home_ + "/picture.png"));
  }

  nlohmann::json read_json(const std::string& file) const {
    std::ifstream stream(home_ + "/" + file);
    return nlohmann::json::parse(stream);
  }
};

TEST_F(GenerateProgram, WritesPictureReportTraceAndLatents) {
  const ProcessResult result =
      run(generate({"--seed", "5", "--batch", "2", "--report", home_ + "/report.json", "--trace",
                    home_ + "/trace.json", "--out-latents", home_ + "/latents.safetensors"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* file : {"/picture-1.png", "/picture-2.png"}) {
    const auto picture = pipeline::read_png(home_ + file);
    ASSERT_TRUE(picture.ok()) << picture.error().message();
    EXPECT_EQ(picture->width, 64);
  }
  const auto png = read_file(home_ + "/picture-1.png", 1 << 20);
  EXPECT_THAT(std::string(as_text(*png)), HasSubstr("a green star on a white background"));
  EXPECT_THAT(std::string(as_text(*png)), HasSubstr("\"seed\":5"));

  const nlohmann::json report = read_json("report.json");
  EXPECT_EQ(report.at("per_step").size(), 2u);
  EXPECT_EQ(report.at("totals").at("bytes_up"), 0);
  EXPECT_GT(report.at("totals").at("denoise_ms"), 0);
  EXPECT_FALSE(read_json("trace.json").at("traceEvents").empty());
  const auto latents = SafetensorsFile::open(home_ + "/latents.safetensors");
  ASSERT_TRUE(latents.ok());
  EXPECT_EQ(latents->tensor("latents")->shape(), (Shape{2, 128, 4, 4}));
}

TEST_F(GenerateProgram, TheSeedDecidesThePicture) {
  ASSERT_EQ(run(generate({"--seed", "9"})).exit_code, 0);
  const auto first = pipeline::read_png(home_ + "/picture.png");
  ASSERT_EQ(run(generate({"--seed", "9"})).exit_code, 0);
  EXPECT_EQ(pipeline::read_png(home_ + "/picture.png")->rgb, first->rgb);
  ASSERT_EQ(run(generate({"--seed", "10"})).exit_code, 0);
  EXPECT_NE(pipeline::read_png(home_ + "/picture.png")->rgb, first->rgb);
}

// The fixture's noise is what seed 23 draws, so giving it as a file changes nothing.
TEST_F(GenerateProgram, GivenLatentsReplaceTheSeededNoise) {
  const std::string fixture = std::string(PINION_SOURCE_DIR) + "/tests/fixtures/tiny/small.safetensors";
  const auto file = SafetensorsFile::open(fixture);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(
      write_safetensors(home_ + "/noise.safetensors", {{"latents", file->tensor("noise").value()}}).ok());
  ASSERT_EQ(run(generate({"--size", "192x192", "--seed", "23"})).exit_code, 0);
  const auto seeded = pipeline::read_png(home_ + "/picture.png");
  ASSERT_EQ(run(generate({"--size", "192x192", "--latents", home_ + "/noise.safetensors"})).exit_code, 0);
  EXPECT_EQ(pipeline::read_png(home_ + "/picture.png")->rgb, seeded->rgb);
}

TEST_F(GenerateProgram, CodecAutoChoosesAndSaysWhy) {
  test::WorkerProcess worker(
      {.home = home_, .models = kModel, .device = test::test_device(), .more_arguments = {}});
  worker.pair(home_ + "/client");
  const ProcessResult result = run(generate(
      {"--worker", worker.address(), "--cut", "2", "--codec", "auto", "--report", home_ + "/report.json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("codec auto: "));
  const nlohmann::json report = read_json("report.json");
  const nlohmann::json& choice = report.at("codec_choice");
  EXPECT_EQ(choice.at("codec"), report.at("codec"));
  EXPECT_GT(choice.at("bytes_per_s"), 1e6);
  const nlohmann::json& trials = choice.at("trials");
  ASSERT_EQ(trials.size(), 4u);
  EXPECT_EQ(trials.at(0).at("codec"), "raw");
  for (const nlohmann::json& trial : trials) {
    if (trial.at("codec") != choice.at("codec")) continue;
    EXPECT_LE(trial.at("expected_ms"), trials.at(0).at("expected_ms"));
  }
  const nlohmann::json& back = choice.at("way_back");
  EXPECT_EQ(back.at("codec"), report.at("velocity_codec"));
  EXPECT_EQ(back.at("trials").size(), 3u);
  EXPECT_THAT(result.out, HasSubstr("velocity, on its way back: "));

  // Both guidance branches are jobs of one plan; exact stays exact.
  const ProcessResult exact = run(generate({"--worker", worker.address(), "--cut", "2", "--codec",
                                            "auto:exact", "--guidance", "3", "--compare-local"}));
  ASSERT_EQ(exact.exit_code, 0) << exact.err;
  EXPECT_THAT(exact.out, HasSubstr("identical, bit for bit"));

  const ProcessResult none = run(generate({"--worker", worker.address(), "--cut", "0", "--codec", "auto"}));
  ASSERT_EQ(none.exit_code, 0) << none.err;
  EXPECT_THAT(none.out, HasSubstr("codec auto: raw; only latents are sent"));
}

TEST_F(GenerateProgram, CodecsOfBothWaysMustMakeSense) {
  const auto fails = [&](std::vector<std::string> flags, const std::string& text) {
    const ProcessResult result = run(generate(std::move(flags)));
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  for (const char* target : {"auto:", "auto:x", "auto:0", "auto:-3", "auto:101", "auto:nan", "auto:36dB"}) {
    fails({"--worker", "localhost", "--codec", target}, "auto:36");
  }
  fails({"--worker", "localhost", "--codec", "auto", "--velocity-codec", "raw"}, "leave it out");
  fails({"--worker", "localhost", "--codec", "raw", "--velocity-codec", "calibrated:30"}, "leave it out");
  fails({"--worker", "localhost", "--codec", "raw", "--velocity-codec", "magic"}, "magic");
}

TEST_F(GenerateProgram, SplitReportsEveryHop) {
  test::WorkerProcess worker(
      {.home = home_, .models = kModel, .device = test::test_device(), .more_arguments = {}});
  worker.pair(home_ + "/client");
  const ProcessResult result =
      run(generate({"--worker", worker.address(), "--cut", "2", "--codec", "fidelity:25", "--compare-local",
                    "--report", home_ + "/report.json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json report = read_json("report.json");
  for (const nlohmann::json& step : report.at("per_step")) {
    ASSERT_EQ(step.at("hops").size(), 2u);
    for (const nlohmann::json& stream : step.at("hops").at(0).at("streams")) {
      if (stream.at("name") == "latents") {
        EXPECT_LE(stream.at("bytes"), 10) << "the worker draws the first noise itself and predicts the rest";
        continue;
      }
      EXPECT_GT(stream.at("bytes"), 0);
      EXPECT_NEAR(stream.at("snr_db").get<double>(), 25, 0.3) << stream.dump();
    }
  }
  EXPECT_GT(report.at("comparison").at("pictures").at(0).at("psnr_db"), 20);
  EXPECT_THAT(result.out, HasSubstr("against the unsplit run: PSNR"));

  const ProcessResult exact =
      run(generate({"--worker", worker.address(), "--cut", "2", "--codec", "lossless", "--compare-local"}));
  EXPECT_THAT(exact.out, HasSubstr("identical, bit for bit"));
}

TEST_F(GenerateProgram, SplitForwardEqualsTheUnsplitOne) {
  test::WorkerProcess worker(
      {.home = home_, .models = kModel, .device = test::test_device(), .more_arguments = {}});
  worker.pair(home_ + "/client");
  const auto reference =
      SafetensorsFile::open(std::string(PINION_SOURCE_DIR) + "/tests/fixtures/tiny/square.safetensors");
  ASSERT_TRUE(reference.ok());
  // One evaluation at sigma 1 on the noise of the fixture, as diffusers' forward takes it.
  constexpr std::int64_t kSide = 16, kText = 512;
  const Tensor noise = reference->tensor("noise").value();  // [1, 128, 16, 16]
  Tensor tokens = Tensor::empty(DType::kF32, {1, kSide * kSide, 128});
  for (std::int64_t t = 0; t < kSide * kSide; ++t) {
    for (std::int64_t c = 0; c < 128; ++c) {
      reinterpret_cast<float*>(tokens.mutable_data())[t * 128 + c] =
          reinterpret_cast<const float*>(noise.view().data)[c * kSide * kSide + t];
    }
  }
  std::vector<float> image_ids, text_ids;
  for (std::int64_t t = 0; t < kSide * kSide; ++t) {
    image_ids.insert(image_ids.end(), {0, static_cast<float>(t / kSide), static_cast<float>(t % kSide), 0});
  }
  for (std::int64_t t = 0; t < kText; ++t) text_ids.insert(text_ids.end(), {0, 0, 0, static_cast<float>(t)});
  ASSERT_TRUE(write_safetensors(home_ + "/in.safetensors",
                                {{"hidden_states", tokens},
                                 {"encoder_hidden_states", reference->tensor("prompt_embeds").value()},
                                 {"timestep", Tensor::from_floats(std::vector<float>{1.0f}, {1})},
                                 {"img_ids", Tensor::from_floats(image_ids, {kSide * kSide, 4})},
                                 {"txt_ids", Tensor::from_floats(text_ids, {kText, 4})}})
                  .ok());
  const std::vector<std::string> forward{
      "forward", "--model", kModel, "--inputs", home_ + "/in.safetensors", "--device", test::test_device()};
  std::vector<std::string> whole = forward;
  whole.insert(whole.end(), {"--out", home_ + "/whole.safetensors"});
  ASSERT_EQ(run(whole).exit_code, 0);
  const auto a = SafetensorsFile::open(home_ + "/whole.safetensors");
  const ByteSpan expected = a->tensor("sample")->view().span();
  for (const std::string codec : {"lossless", "auto:exact"}) {
    std::vector<std::string> split = forward;
    split.insert(split.end(), {"--out", home_ + "/split.safetensors", "--worker", worker.address(), "--cut",
                               "3", "--codec", codec});
    const ProcessResult result = run(split);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    if (codec != "lossless") {
      EXPECT_THAT(result.out, HasSubstr("codec auto: "));
    }
    const auto b = SafetensorsFile::open(home_ + "/split.safetensors");
    const ByteSpan got = b->tensor("sample")->view().span();
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), got.begin(), got.end())) << codec;
  }
}

TEST_F(GenerateProgram, WrongUsageSaysWhatAndExitsWithTwo) {
  struct Case {
    std::vector<std::string> arguments;
    const char* text;
  };
  for (const Case& c : {Case{{"--worker", "localhost:1", "--cut", "6"}, "--cut 6 is outside"},
                        Case{{"--cut", "3"}, "names 1 cuts for 0 workers"}, Case{{"--codec", "mp3"}, "mp3"},
                        Case{{"--dtype", "int3"}, "--dtype 'int3'"}, Case{{"--batch", "0"}, "--batch"},
                        Case{{"--no-such-flag"}, "--no-such-flag"}}) {
    expect_error(run(generate(c.arguments), kErrorLimit), 2, c.text);
  }
}

TEST_F(GenerateProgram, WhatCannotBeReadOrReachedExitsWithOne) {
  expect_error(
      run({"generate", "--model", home_ + "/nothing-here", "--prompt", "x", "--out", home_ + "/picture.png"},
          kErrorLimit),
      1, "nothing-here");
  expect_error(run(generate({"--worker", "127.0.0.1:1", "--cut", "3"}), kErrorLimit), 1, "127.0.0.1:1");
  expect_error(run(generate({"--image", home_ + "/no.png"}), kErrorLimit), 1, "no.png");
  expect_error(run(generate({"--embeds", home_ + "/no.safetensors"}), kErrorLimit), 1, "no.safetensors");
}

TEST_F(GenerateProgram, AReferencePictureTakesPart) {
  ASSERT_EQ(run(generate({"--seed", "3"})).exit_code, 0);
  const auto without = pipeline::read_png(home_ + "/picture.png");
  std::filesystem::rename(home_ + "/picture.png", home_ + "/reference.png");
  ASSERT_EQ(run(generate({"--seed", "3", "--image", home_ + "/reference.png"})).exit_code, 0);
  EXPECT_NE(pipeline::read_png(home_ + "/picture.png")->rgb, without->rgb);
}

TEST_F(GenerateProgram, AnInterruptEndsItWith130) {
  test::ChildProcess process({test::pinion_program(), "generate", "--model", kModel, "--prompt", "x",
                              "--size", "256x256", "--steps", "500", "--out", home_ + "/picture.png"},
                             test::settings_in(home_ + "/client"));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (process.err().find("drawing") == std::string::npos && std::chrono::steady_clock::now() < deadline) {
    process.wait(std::chrono::milliseconds(50));
  }
  process.signal(SIGINT);
  const auto result = process.wait(std::chrono::milliseconds(15'000));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->exit_code, 130) << result->err;
}

}  // namespace
}  // namespace pinion
