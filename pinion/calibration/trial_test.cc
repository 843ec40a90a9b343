// What is predicted of errors against what the model answers.

#include "pinion/calibration/trial.h"

#include <gmock/gmock.h>

#include <cmath>

#include "pinion/calibration/calibrate.h"
#include "pinion/models/sampling.h"
#include "pinion/models/text_encoder.h"

namespace pinion::calibration {
namespace {

const std::string kModel = std::string(PINION_SOURCE_DIR) + "/models/tiny-flux2";
constexpr models::LatentGrid kGrid{8, 8};
constexpr int kCut = 3;

template <class T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().message());
  return std::move(result).value();
}

Result<void> go_on(int) { return {}; }

codec::Calibration with_gain(const std::string& stream, float gain) {
  codec::Calibration calibration;
  calibration.key.stream = stream;
  for (int i = 0; i < 2; ++i) {
    codec::CalibrationRecord record;
    record.gain = {gain, 2 * gain};
    record.floor = 3 * gain;
    calibration.records.push_back(record);
  }
  return calibration;
}

TEST(Correct, ScalesEachRecordByWhatWasMeasured) {
  std::vector<codec::Calibration> calibrations{with_gain("image", 1), with_gain("text", 1),
                                               with_gain("velocity", 1)};
  TrialResult trial;
  for (const char* stream : {"image", "text", "velocity"}) {
    trial.streams.push_back(
        {.stream = stream, .frame_bytes = 1, .elements = 1, .predicted = {10, 10}, .measured = {20, 5}});
  }
  trial.streams[1].measured = {1e6, 0};  // a fluke: not believed as it is
  trial.streams[1].predicted = {1, 0};   // nothing was predicted: nothing is learned
  correct(calibrations, trial);
  EXPECT_THAT(calibrations[0].records[0].gain, testing::ElementsAre(2, 4));
  EXPECT_EQ(calibrations[0].records[0].floor, 6);
  EXPECT_THAT(calibrations[0].records[1].gain, testing::ElementsAre(0.5, 1));
  EXPECT_THAT(calibrations[1].records[0].gain, testing::ElementsAre(16, 32));
  EXPECT_THAT(calibrations[1].records[1].gain, testing::ElementsAre(1, 2));
  EXPECT_THAT(calibrations[2].records[0].gain, testing::ElementsAre(1, 2));
}

TEST(Calibrate, RunsMoreJobsTheWiderTheModelAndTheSmallerThePictures) {
  EXPECT_EQ(jobs_for(1024, 576), 200);
  EXPECT_EQ(jobs_for(256, 4096), 32);
  EXPECT_EQ(jobs_for(4096, 256), 256);
}

// A calibration with trials tells within two decibels, after 18 small pictures, what jobs that it never met
// will hear.
TEST(Trial, CorrectedCalibrationsPredictTheOutput) {
  CalibrateRequest request;
  request.model = kModel;
  request.cuts = {kCut};
  request.prompts = {"a red circle on a white background",
                     "a small blue square at the top",
                     "a green star on the left, on a black background",
                     "a striped yellow triangle",
                     "an orange ring on a gray background",
                     "two shapes"};
  request.jobs = 18;
  request.trials = 2;
  request.picture_weight = 0;  // then the metric is known here
  request.grid = kGrid;
  request.targets = {24, 36};
  std::vector<std::string> phases;
  const CutCalibration solved = must(calibrate(request, [&](const CalibrateProgress& at) {
                                  if (phases.empty() || phases.back() != at.phase)
                                    phases.emplace_back(at.phase);
                                  return true;
                                })).at(0);
  EXPECT_EQ(phases.back(), "trials");

  ASSERT_EQ(solved.expected.size(), 2u);
  EXPECT_LT(solved.expected[0].job_bytes, solved.expected[1].job_bytes);
  EXPECT_GT(*solved.expected[0].mean_psnr_db, 25);
  EXPECT_GT(*solved.expected[1].mean_psnr_db, *solved.expected[0].mean_psnr_db + 4);
  EXPECT_LE(*solved.expected[0].worst_psnr_db, *solved.expected[0].mean_psnr_db);

  const auto model = must(models::open_model(kModel));
  StageChain chain = must(StageChain::load(*model, {kCut}, {}, 8));
  const std::vector<double> sigmas = models::flux2_sigmas(kGrid.tokens(), request.steps);
  const auto encoder = must(models::open_text_encoder(kModel, {}));
  std::vector<TrialJob> jobs;
  for (std::uint64_t seed = 500; seed < 503; ++seed) {
    models::JobConstants constants;
    constants.grid = kGrid;
    constants.context = must(encoder->encode({"a pink diamond on a blue background"}));
    constants.text_tokens = constants.context.shape()[1];
    jobs.push_back({constants, models::initial_noise(seed, 1, model->info().latent_channels, kGrid)});
  }
  Trial trial(chain, 0, sigmas, at::eye(model->info().latent_channels, at::kDouble));
  const TrialResult result = must(trial.run(solved.streams, 30, jobs, Trial::Measures::kEachStream, go_on));
  ASSERT_EQ(result.streams.size(), 3u);
  for (const StreamTrial& stream : result.streams) {
    double predicted = 0, measured = 0;
    for (const double energy : stream.predicted) predicted += energy;
    for (const double energy : stream.measured) measured += energy;
    EXPECT_NEAR(10 * std::log10(measured / predicted), 0, stream.stream == "velocity" ? 0.1 : 2)
        << stream.stream;
  }
  // What all three streams make together.
  EXPECT_NEAR(result.output_snr_db, 30, 2.5);
}

}  // namespace
}  // namespace pinion::calibration
