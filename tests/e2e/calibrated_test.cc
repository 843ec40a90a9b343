// Calibrated coding of the tiny model, from `pinion calibrate` to the picture, as a user runs it.

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/worker_process.h"

namespace pinion {
namespace {

using test::ProcessResult;
using testing::HasSubstr;
using namespace std::chrono_literals;

const std::string kModel = std::string(PINION_SOURCE_DIR) + "/models/tiny-flux2";
const std::string kPrompts = std::string(PINION_SOURCE_DIR) + "/models/tiny-flux2/prompts.txt";

class Calibrated : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    home_ = test::scratch_folder("Calibrated");
    const ProcessResult made =
        run({"calibrate", "--model", kModel, "--cut", "3", "--worker-cut", "4", "--size", "128", "--jobs",
             "16", "--trials", "1", "--targets", "28", "--prompts", kPrompts, "--out", calibration()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }

  static std::string calibration() { return home_ + "/cuts.pnf"; }

  static ProcessResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), test::pinion_program());
    return test::run_process(arguments, test::settings_in(home_ + "/client"), 300s);
  }

  static std::unique_ptr<test::WorkerProcess> worker(const std::string& name) {
    auto started = std::make_unique<test::WorkerProcess>(test::WorkerSettings{
        .home = home_ + "/" + name, .models = kModel, .device = test::test_device(), .more_arguments = {}});
    started->pair(home_ + "/client");
    return started;
  }

  static std::vector<std::string> job(const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"generate",
                                       "--model",
                                       kModel,
                                       "--prompt",
                                       "a large blue star on a pale yellow background",
                                       "--size",
                                       "128x128",
                                       "--seed",
                                       "5",
                                       "--out",
                                       home_ + "/picture.png",
                                       "--report",
                                       home_ + "/report.json",
                                       "--compare-local"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  // A picture of the model's own, to be referred to.
  static std::string reference(const std::string& size = "128x128") {
    std::string path = home_ + "/reference" + size + ".png";
    const ProcessResult drawn =
        run({"generate", "--model", kModel, "--prompt", "a red circle on a blue background", "--size", size,
             "--seed", "9", "--out", path});
    EXPECT_EQ(drawn.exit_code, 0) << drawn.err;
    return path;
  }

  struct Outcome {
    std::map<std::string, double> bytes;  // by stream, of all steps
    std::vector<double> reference_bytes;  // of each step's frames
    double psnr_db = 0;
    double least_output_snr_db = 1e9;  // of image rows and velocities
  };
  static Outcome outcome() {
    std::ifstream file(home_ + "/report.json");
    const auto report = nlohmann::json::parse(file);
    Outcome sums;
    for (const auto& step : report.at("per_step")) {
      for (const auto& hop : step.at("hops")) {
        for (const auto& stream : hop.at("streams")) {
          const std::string name = stream.at("name");
          sums.bytes[name] += stream.at("bytes").get<double>();
          if (name == "reference") sums.reference_bytes.push_back(stream.at("bytes").get<double>());
          if (name != "image" && name != "velocity") continue;
          sums.least_output_snr_db =
              std::min(sums.least_output_snr_db, stream.at("output_snr_db").get<double>());
        }
      }
    }
    sums.psnr_db = report.at("comparison").at("pictures").at(0).at("psnr_db").get<double>();
    return sums;
  }

  static inline std::string home_;
};

TEST_F(Calibrated, SendsLessThanFidelityDoesAndReachesItsTarget) {
  const auto there = worker("worker");
  const auto with = [&](const std::string& codec) {
    std::vector<std::string> more{"--worker", there->address(), "--cut", "3", "--codec", codec};
    if (codec.starts_with("calibrated")) more.insert(more.end(), {"--calibration", calibration()});
    const ProcessResult result = run(job(more));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return outcome();
  };
  Outcome fidelity = with("fidelity:20"), calibrated = with("calibrated:30");
  EXPECT_GE(calibrated.psnr_db, fidelity.psnr_db);
  EXPECT_GE(calibrated.least_output_snr_db, 29.4);
  EXPECT_LT(calibrated.bytes["image"], 0.5 * fidelity.bytes["image"]);
  EXPECT_LT(calibrated.bytes["velocity"], 0.7 * fidelity.bytes["velocity"]);
  // What both ends make of a velocity is the same, so the next latents are still predicted exactly.
  EXPECT_LT(calibrated.bytes["latents"], fidelity.bytes["latents"] + 100);
  // The worker keeps the calibration; the second job says the same with it.
  Outcome again = with("calibrated:30");
  EXPECT_EQ(again.psnr_db, calibrated.psnr_db);
  EXPECT_EQ(again.bytes, calibrated.bytes);
  EXPECT_GT(with("calibrated:36").psnr_db, calibrated.psnr_db);
}

TEST_F(Calibrated, KeepsABudgetAStep) {
  const auto there = worker("budget");
  const auto keeps = [&](int kilobytes, const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"--worker",      there->address(),
                                       "--cut",         "3",
                                       "--codec",       "calibrated:" + std::to_string(kilobytes) + "kB",
                                       "--calibration", calibration()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result = run(job(arguments));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    std::ifstream file(home_ + "/report.json");
    const auto report = nlohmann::json::parse(file);
    for (const auto& step : report.at("per_step")) {
      double bytes = 0;
      for (const auto& hop : step.at("hops")) {
        for (const auto& stream : hop.at("streams")) {
          if (stream.at("name") != "latents" && stream.at("name") != "reference")
            bytes += stream.at("bytes").get<double>();
        }
      }
      EXPECT_LT(bytes, 1.06e3 * kilobytes);
      EXPECT_GT(bytes, 0.7e3 * kilobytes);
    }
  };
  keeps(12, {"--image", reference()});  // whose rows are no part of it
  EXPECT_EQ(outcome().reference_bytes.size(), 4u);
  double last_psnr_db = 0;
  for (const int kilobytes : {6, 12, 24}) {
    keeps(kilobytes, {});
    const double psnr_db = outcome().psnr_db;
    EXPECT_GT(psnr_db, last_psnr_db) << kilobytes;
    last_psnr_db = psnr_db;
  }
}

// What a job sends first does not depend on what came back, so the recorded states give the same frames.
TEST_F(Calibrated, CodecBenchCodesARecordedJobAsAJobDoes) {
  const std::string recorded = home_ + "/job.safetensors";
  const ProcessResult drawn = run(job({"--record", recorded, "--record-cut", "3"}));
  ASSERT_EQ(drawn.exit_code, 0) << drawn.err;
  const auto there = worker("recorded");
  for (const std::string codec : {"calibrated:36", "calibrated:6kB"}) {
    const ProcessResult split = run(
        job({"--worker", there->address(), "--cut", "3", "--codec", codec, "--calibration", calibration()}));
    ASSERT_EQ(split.exit_code, 0) << split.err;
    std::ifstream file(home_ + "/report.json");
    std::map<std::string, double> sent;  // bytes of the first step's streams
    const auto report = nlohmann::json::parse(file);
    for (const auto& stream : report.at("per_step").at(0).at("hops").at(0).at("streams")) {
      sent[stream.at("name")] = stream.at("bytes");
    }
    const ProcessResult bench = run({"codec", "bench", recorded, "--sequence", "--calibration", calibration(),
                                     "--cut", "3", "--mode", codec, "--json"});
    ASSERT_EQ(bench.exit_code, 0) << bench.err;
    const auto rows = nlohmann::json::parse(bench.out);
    ASSERT_EQ(rows.size(), 12u);  // image, text and velocity of four steps
    EXPECT_EQ(rows.at(0).at("tensor"), "cut3.image.t0");
    EXPECT_EQ(rows.at(4).at("tensor"), "cut3.text.t0");
    // Frames of a job have one extent more, the batch.
    EXPECT_EQ(rows.at(0).at("frame_bytes").get<double>() + 1, sent["image"]) << codec;
    EXPECT_EQ(rows.at(4).at("frame_bytes").get<double>() + 1, sent["text"]) << codec;
  }
  const ProcessResult no_cut = run(job({"--record", recorded, "--record-cut", "6"}));
  EXPECT_EQ(no_cut.exit_code, 2);
  EXPECT_THAT(no_cut.err, HasSubstr("choose cuts from 1 to 5"));
  EXPECT_EQ(run(job({"--record", recorded})).exit_code, 2);
  const ProcessResult split =
      run(job({"--record", recorded, "--record-cut", "3", "--worker", there->address()}));
  EXPECT_EQ(split.exit_code, 2);
  EXPECT_THAT(split.err, HasSubstr("leave out --worker"));
}

// What loopback makes of it is the link's affair; that it was tried, and kept fewest bytes, is not.
TEST_F(Calibrated, CodecAutoTriesIt) {
  const auto there = worker("auto");
  const ProcessResult result = run(
      job({"--worker", there->address(), "--cut", "3", "--codec", "auto", "--calibration", calibration()}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::ifstream file(home_ + "/report.json");
  const auto trials = nlohmann::json::parse(file).at("codec_choice").at("trials");
  ASSERT_EQ(trials.size(), 5u);
  EXPECT_EQ(trials.at(4).at("codec"), "calibrated:30");
  ASSERT_FALSE(trials.at(4).contains("why_not")) << trials.at(4);
  EXPECT_LT(trials.at(4).at("bytes").get<double>(), 0.2 * trials.at(2).at("bytes").get<double>());
  EXPECT_GT(trials.at(4).at("way_back_ms"), 0);
}

TEST_F(Calibrated, WorksAcrossAChain) {
  const auto a = worker("a"), b = worker("b");
  const ProcessResult result = run(job({"--worker", a->address(), "--worker", b->address(), "--cut", "3,4",
                                        "--codec", "calibrated:40", "--calibration", calibration()}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_GE(outcome().psnr_db, 30);
}

TEST_F(Calibrated, TakesReferencePictures) {
  const auto there = worker("references");
  const std::string picture = reference();
  const auto with = [&](const std::string& codec) {
    std::vector<std::string> more{"--worker", there->address(), "--cut", "3", "--codec",
                                  codec,      "--image",        picture};
    if (codec.starts_with("calibrated")) more.insert(more.end(), {"--calibration", calibration()});
    const ProcessResult result = run(job(more));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return outcome();
  };
  Outcome fidelity = with("fidelity:20"), calibrated = with("calibrated:28");
  EXPECT_TRUE(fidelity.reference_bytes.empty());
  EXPECT_GE(calibrated.psnr_db, 30);
  EXPECT_GE(calibrated.least_output_snr_db, 27.4);
  EXPECT_LT(calibrated.bytes["image"], fidelity.bytes["image"]);
  // Frames predict from the frame before.
  ASSERT_EQ(calibrated.reference_bytes.size(), 4u);
  for (std::size_t step = 1; step < 4; ++step) {
    EXPECT_LT(calibrated.reference_bytes[step], 0.8 * calibrated.reference_bytes[0]) << step;
  }
  EXPECT_GT(with("calibrated:40").psnr_db, calibrated.psnr_db);
}

TEST_F(Calibrated, TakesReferencePicturesAcrossAChain) {
  const auto a = worker("reference_a"), b = worker("reference_b");
  const ProcessResult result =
      run(job({"--worker", a->address(), "--worker", b->address(), "--cut", "3,4", "--codec", "calibrated:40",
               "--calibration", calibration(), "--image", reference(), "--image", reference("96x64")}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(outcome().reference_bytes.size(), 8u);
  EXPECT_GE(outcome().psnr_db, 34);
}

TEST_F(Calibrated, SaysWhatIsMissing) {
  const auto there = worker("strict");
  const auto fails = [&](std::vector<std::string> more, const std::string& text, int exit_code) {
    more.insert(more.end(), {"--worker", there->address()});
    const ProcessResult result = run(job(more));
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  fails({"--cut", "3", "--codec", "calibrated:30"}, "--calibration FILE", 2);
  fails({"--cut", "3", "--codec", "raw", "--calibration", calibration()}, "go together", 2);
  fails({"--cut", "3", "--codec", "auto:exact", "--calibration", calibration()}, "go together", 2);
  fails({"--cut", "2", "--codec", "calibrated:30", "--calibration", calibration()}, "cut 2", 2);
  // Across cut 3 the client was to send.
  const auto next = worker("next");
  fails({"--cut", "2,3", "--codec", "calibrated:30", "--calibration", calibration(), "--worker",
         next->address()},
        "--worker-cut 3", 2);
  fails({"--cut", "3", "--codec", "calibrated:30", "--calibration", kPrompts}, "prompts.txt", 1);
  fails({"--cut", "3", "--codec", "calibrated:0", "--calibration", calibration()}, "out of range", 2);
  const auto calibrate = [&](std::vector<std::string> more, const std::string& text) {
    more.insert(more.begin(), {"calibrate", "--model", kModel, "--out", home_ + "/none.pnf"});
    const ProcessResult result = run(more);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  calibrate({"--cut", "0"}, "cut 0");
  calibrate({"--cut", "6"}, "cut 6");
  calibrate({"--cut", "3", "--size", "100"}, "multiple of 16");
  calibrate({"--cut", "3", "--size", "64", "--jobs", "2"}, "too few");
}

}  // namespace
}  // namespace pinion
