// `pinion codec` with calibrations, on a stream whose optimum is known.

#include <array>
#include <cmath>

#include "pinion/codec/calibrated/calibration_testing.h"
#include "pinion/codec/calibrated/step_target.h"
#include "pinion/codec/container.h"
#include "tests/codec_program/codec_program_testing.h"

namespace pinion::test {
namespace {

using codec::testing::SyntheticForm;
using codec::testing::SyntheticStream;

constexpr SyntheticForm kImage{
    .rows = 200, .channels = 48, .components = 6, .latents = 5, .deaf = 4, .grid = {10, 20}, .seed = 3};
constexpr SyntheticForm kText{
    .rows = 90, .channels = 40, .components = 5, .latents = 0, .deaf = 3, .seed = 4};

class CodecCalibratedProgram : public CodecProgram {
 protected:
  CodecCalibratedProgram() {
    std::vector<float> sigmas;
    for (std::size_t i = 0; i < codec::testing::kSyntheticSteps; ++i) {
      const std::string step = ".t" + std::to_string(i);
      const SyntheticStream::Step image = image_.next(DType::kBF16), text = text_.next();
      images_.push_back(image);
      job_.push_back({"cut3.image" + step, image.tensor});
      job_.push_back({"cut3.text" + step, text.tensor});
      job_.push_back({"latents" + step, Tensor::from_floats(image.latents, {kImage.rows, kImage.latents})});
      sigmas.push_back(image.sigma);
    }
    sigmas.push_back(0);  // as schedules have it
    job_.push_back({"sigmas", Tensor::from_floats(sigmas, {static_cast<std::int64_t>(sigmas.size())})});
    job_file_ = write("job.safetensors", job_, {{"grid_lines", "10"}, {"grid_columns", "20"}});
    calibration_ = write_calibrations("cut3.pnf", {image_.calibration(), calibration_of_text(3)});
  }

  codec::Calibration calibration_of_text(std::uint32_t cut) const {
    codec::Calibration calibration = text_.calibration();
    calibration.key.cut = cut;
    calibration.key.stream = "text";
    return calibration;
  }

  std::string write_calibrations(const std::string& name, const std::vector<codec::Calibration>& all) const {
    std::vector<Bytes> assets;
    for (const codec::Calibration& calibration : all) assets.push_back(codec::write_calibration(calibration));
    codec::Container container;
    container.calibrations.assign(assets.begin(), assets.end());
    EXPECT_TRUE(write_file(file(name), codec::write_container(container)).ok());
    return file(name);
  }

  // The job without a tensor.
  std::string job_without(const std::string& name) const {
    TensorList rest;
    for (const NamedTensor& entry : job_) {
      if (entry.name != name) rest.push_back(entry);
    }
    return write("rest.safetensors", rest);
  }

  std::vector<std::string> encode(const std::string& in, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"encode", in, file("job.pnf"), "--sequence", "--calibration", calibration_});
    if (std::ranges::find(more, "--mode") == more.end()) more.insert(more.end(), {"--mode", "calibrated:30"});
    return more;
  }

  SyntheticStream image_{kImage}, text_{kText};
  std::vector<SyntheticStream::Step> images_;
  TensorList job_;
  std::string job_file_, calibration_;
};

TEST_F(CodecCalibratedProgram, DecodesToWhatTheLibraryDoes) {
  const auto calibration = codec::testing::through_bytes(image_.calibration());
  // Both streams of the file share the target.
  const std::vector<codec::StepStream> streams{
      {calibration, static_cast<std::int64_t>(kImage.rows)},
      {codec::testing::through_bytes(calibration_of_text(3)), static_cast<std::int64_t>(kText.rows)}};
  for (const std::string threads : {"1", "2"}) {
    expect_done(encode(job_file_, {"--threads", threads}));
    expect_done({"decode", file("job.pnf"), file("out.safetensors"), "--calibration", calibration_,
                 "--context", job_file_, "--threads", threads});
    auto encoder = codec::CalibratedEncoder::create(calibration, {.output_snr_db = 30}).value();
    codec::CalibratedDecoder decoder(calibration);
    const TensorList decoded = read("out.safetensors");
    ASSERT_EQ(decoded.size(), 2 * images_.size());  // latents and sigmas are known, not coded
    for (std::size_t i = 0; i < images_.size(); ++i) {
      const SyntheticStream::Step& step = images_[i];
      encoder.set_target(codec::share_of({.output_snr_db = 30}, streams, 0, step.context()));
      const auto frame = encoder.encode(step.tensor, step.context()).value();
      const Tensor* const found = find(decoded, "cut3.image.t" + std::to_string(i));
      ASSERT_NE(found, nullptr);
      EXPECT_TRUE(codec::testing::same_tensor(
          *found, decoder.decode(frame.frame, step.context(), codec::testing::kGenerous).value()));
    }
  }
}

TEST_F(CodecCalibratedProgram, BenchReportsTheOutput) {
  expect_done(encode(job_file_, {"--stream", "image"}));
  expect_done({"decode", file("job.pnf"), file("out.safetensors"), "--calibration", calibration_, "--context",
               job_file_});
  const TensorList decoded = read("out.safetensors");
  const auto rows = json_of({"bench", job_file_, "--sequence", "--calibration", calibration_, "--mode",
                             "int8", "--mode", "calibrated:30", "--stream", "image"});
  ASSERT_EQ(rows.size(), 2 * images_.size());
  for (std::size_t i = 0; i < images_.size(); ++i) {
    const auto& row = rows.at(images_.size() + i);
    const Tensor& arrived = *find(decoded, row.at("tensor").get<std::string>());
    EXPECT_EQ(row.at("mode"), "calibrated:30");
    EXPECT_NEAR(row.at("output_snr_db"), 30, 0.3);
    EXPECT_NEAR(row.at("output_snr_db"), image_.measured_output_snr_db(images_[i].tensor, arrived), 0.5);
    const auto measured = codec::testing::measure_again(images_[i].tensor, arrived);
    EXPECT_NEAR(row.at("snr_db"), measured.snr_db, 1e-3);
    EXPECT_EQ(row.at("key_frame"), i == 0);
    EXPECT_LT(row.at("bits_per_element"), rows.at(i).at("bits_per_element"));
  }
  // Alone, none predicts from the frame before.
  for (const auto& row :
       json_of({"bench", job_file_, "--calibration", calibration_, "--mode", "calibrated:30"})) {
    EXPECT_TRUE(row.at("key_frame"));
  }
}

TEST_F(CodecCalibratedProgram, StreamsShareABudget) {
  constexpr double kBudget = 1500;
  for (const bool sequence : {true, false}) {
    std::vector<std::string> arguments{"bench",      job_file_, "--calibration",
                                       calibration_, "--mode",  "calibrated:1500B"};
    if (sequence) arguments.emplace_back("--sequence");
    std::array<double, codec::testing::kSyntheticSteps> bytes{};
    for (const auto& row : json_of(arguments)) {
      bytes.at(static_cast<std::size_t>(row.at("tensor").get<std::string>().back() - '0')) +=
          row.at("frame_bytes").get<double>();
    }
    for (const double sum : bytes) {
      EXPECT_LT(sum, 1.06 * kBudget);
      EXPECT_GT(sum, 0.7 * kBudget);
    }
  }
  // A stream that is alone may have all of it.
  for (const auto& row : json_of({"bench", job_file_, "--sequence", "--calibration", calibration_, "--mode",
                                  "calibrated:1500B", "--stream", "image"})) {
    EXPECT_LT(row.at("frame_bytes"), 1.06 * kBudget);
    EXPECT_GT(row.at("frame_bytes"), 0.7 * kBudget);
  }
}

TEST_F(CodecCalibratedProgram, InfoShowsFramesAndCalibrations) {
  const auto asset = json_of({"info", calibration_});
  ASSERT_EQ(asset.at("calibrations").size(), 2u);
  const auto& image = asset.at("calibrations").at(0);
  EXPECT_EQ(image.at("stream"), "image");
  EXPECT_EQ(image.at("cut"), 3);
  EXPECT_EQ(image.at("channels"), kImage.channels);
  EXPECT_EQ(image.at("latent_channels"), kImage.latents);
  EXPECT_EQ(image.at("sigmas").size(), codec::testing::kSyntheticSteps);
  expect_done(encode(job_file_));
  const auto coded = json_of({"info", file("job.pnf")});
  std::array<double, codec::testing::kSyntheticSteps> errors{};  // in the output, of both streams
  for (const auto& frame : coded.at("frames")) {
    errors.at(static_cast<std::size_t>(frame.at("name").get<std::string>().back() - '0')) +=
        std::pow(10, -frame.at("output_snr_db").get<double>() / 10);
    EXPECT_EQ(frame.at("basis"),
              asset.at("calibrations").at(frame.at("stream").get<std::size_t>()).at("hash"));
  }
  for (const double sum : errors) EXPECT_NEAR(-10 * std::log10(sum), 30, 0.4);
}

TEST_F(CodecCalibratedProgram, SaysWhichCalibrationIsMissing) {
  expect_failure({"encode", job_file_, file("job.pnf"), "--mode", "calibrated:30"}, "--calibration FILE");
  expect_failure(encode(job_file_, {"--mode", "int8"}), "go together");
  const std::string only_text =
      write_calibrations("text.pnf", {calibration_of_text(3), calibration_of_text(5)});
  expect_failure(
      {"bench", job_file_, "--calibration", only_text, "--mode", "calibrated:30"},
      "there is no calibration of \"image\" at cut 3: " + only_text + " has text at cut 3; text at cut 5");
  expect_done(
      {"bench", job_file_, "--calibration", only_text, "--mode", "calibrated:30", "--stream", "text"});
  TensorList unplaced = job_;
  for (NamedTensor& entry : unplaced) {
    if (entry.name.starts_with("cut3.")) entry.name = entry.name.substr(5);
  }
  const std::string job = write("unplaced.safetensors", unplaced);
  expect_done({"bench", job, "--calibration", calibration_, "--mode", "calibrated:30"});
  expect_failure({"bench", job, "--calibration", only_text, "--mode", "calibrated:30", "--stream", "text"},
                 "say which with --cut");
  expect_done({"bench", job, "--calibration", only_text, "--mode", "calibrated:30", "--stream", "text",
               "--cut", "5"});
  expect_failure(encode(job_file_, {"--cut", "4"}), "it has cut3.image, cut3.text, latents, sigmas");
  expect_failure(encode(job_file_, {"--stream", "velocity"}),
                 "it has cut3.image, cut3.text, latents, sigmas");
  expect_failure({"bench", job_file_, "--calibration", job_file_, "--mode", "calibrated:30"}, job_file_, 1);
  // Named by the model that recorded it, a job is coded by that model's calibrations alone.
  const std::string model = to_hex(image_.calibration().key.model);
  expect_done(encode(write("of_model.safetensors", job_, {{"model_hash", model}})));
  expect_failure(encode(write("of_model.safetensors", job_, {{"model_hash", std::string(64, 'a')}})),
                 "not of aaaaaaaaaaaa", 1);
}

TEST_F(CodecCalibratedProgram, SaysWhatDoesNotFit) {
  expect_failure(encode(job_without("latents.t1")),
                 "has no latents.t1, which cut3.image.t1 is predicted from");
  expect_failure(encode(job_without("sigmas")), "has no sigmas");
  expect_done(encode(job_without("latents.t1"), {"--context", job_file_}));
  TensorList wide = job_;
  wide[0].tensor = Tensor::from_floats(std::vector<float>(kImage.rows * 64), {kImage.rows, 64});
  expect_failure(
      encode(write("wide.safetensors", wide)),
      "cut3.image.t0: calibrated coding: the tensor has shape [200, 64], the calibration 48 channels");
  TensorList short_of_rows = job_;
  short_of_rows[0].tensor =
      Tensor::from_floats(std::vector<float>(7 * kImage.channels), {7, kImage.channels});
  expect_failure(encode(write("short.safetensors", short_of_rows)), "cut3.image.t0: has 7 rows");
  TensorList few_sigmas = job_;
  few_sigmas.back().tensor = Tensor::from_floats(std::vector<float>{1, 0.75f}, {2});
  expect_failure(encode(write("few.safetensors", few_sigmas)), "sigmas has only 2 values");
  TensorList stepless = job_;
  stepless[0].name = "cut3.image";
  expect_failure(encode(write("stepless.safetensors", stepless)), "does not say of which step it is");
}

TEST_F(CodecCalibratedProgram, DecodesOnlyWithWhatItWasCodedWith) {
  expect_done(encode(job_file_));
  const auto decode = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"decode", file("job.pnf"), file("out.safetensors")});
    return more;
  };
  expect_failure(decode({}), "--calibration FILE and --context FILE");
  expect_failure(decode({"--calibration", calibration_}), "--calibration FILE and --context FILE");
  const std::string other = write_calibrations("other.pnf", {calibration_of_text(5)});
  expect_failure(decode({"--calibration", other, "--context", job_file_}), "has text at cut 5", 1);
  expect_failure(decode({"--calibration", calibration_, "--context", job_without("latents.t0")}),
                 "has no latents.t0");
}

TEST_F(CodecCalibratedProgram, SanitizeMendsNaN) {
  std::vector<float> values = floats_of(job_[1].tensor);
  values[17] = std::numeric_limits<float>::quiet_NaN();
  job_[1].tensor = Tensor::from_floats(values, job_[1].tensor.shape());
  const std::string wild = write("wild.safetensors", job_);
  expect_failure(encode(wild), "cut3.text.t0: calibrated coding: the tensor holds NaN or infinity");
  const ProcessResult result = run(encode(wild, {"--sanitize"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ::testing::HasSubstr("not finite and changed: 1 elements"));
}

}  // namespace
}  // namespace pinion::test
