// What jobs of the tiny model leave behind.

#include "pinion/calibration/gather.h"

#include <gtest/gtest.h>

#include "pinion/calibration/mean_response.h"
#include "pinion/models/sampling.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::calibration {
namespace {

using models::from_torch;
using models::to_torch;

const std::string kModel = std::string(PINION_SOURCE_DIR) + "/models/tiny-flux2";
constexpr models::LatentGrid kGrid{4, 4};
constexpr std::int64_t kTextTokens = 8;

template <class T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().message());
  return std::move(result).value();
}

models::JobConstants constants_of(const models::ModelInfo& info) {
  at::manual_seed(1);
  models::JobConstants constants;
  constants.grid = kGrid;
  constants.text_tokens = kTextTokens;
  constants.context = from_torch(at::randn({1, kTextTokens, info.context_channels}));
  return constants;
}

// The step at sigma 0.7 behind cut 3, for what other rows of the picture make of the velocity.
class Tail {
 public:
  Tail(models::Model& model, const models::JobConstants& constants, const Tensor& noise)
      : chain_(must(StageChain::load(model, {3}, {}, 8))),
        stage_(must(model.load_stage({3, model.block_count()}, {}))),
        job_(must(stage_->begin_job(constants))) {
    if (!chain_.begin_job(constants).ok()) throw std::runtime_error("no job begins");
    step_ = must(chain_.step({kSigma}, noise));
  }

  at::Tensor image() const { return to_torch(step_.states[0][0].tensor); }

  at::Tensor velocity(const at::Tensor& image) const {
    const TensorList state{{"image", from_torch(image)}, step_.states[0][1]};
    return to_torch(must(job_->step({.sigma = {kSigma}, .state = state})).front().tensor).clone();
  }

 private:
  static constexpr float kSigma = 0.7f;
  StageChain chain_;
  ChainStep step_;
  std::unique_ptr<models::Stage> stage_;
  std::unique_ptr<models::StageJob> job_;
};

class GatherTest : public ::testing::Test {
 protected:
  std::unique_ptr<models::Model> model_ = must(models::open_model(kModel));
  models::JobConstants constants_ = constants_of(model_->info());
  Tensor noise_ = models::initial_noise(7, 1, model_->info().latent_channels, kGrid);
};

TEST_F(GatherTest, StatesAreThoseOfTheWholeModelHoweverItIsCut) {
  const std::vector<int> cuts{1, 4};
  StageChain chain = must(StageChain::load(*model_, cuts, {}, 2));
  ASSERT_TRUE(chain.begin_job(constants_).ok());
  const ChainStep step = must(chain.step({0.5f}, noise_));
  const auto stage = must(model_->load_stage({0, model_->block_count()}, {}));
  const auto job = must(stage->begin_job(constants_));
  std::vector<TensorList> states;
  const auto observe = [&](int block, const TensorList& state) {
    if (block == cuts[0] || block == cuts[1]) states.push_back(state);
  };
  const TensorList output = must(job->step({.sigma = {0.5f}, .state = {{"latents", noise_}}}, observe));
  EXPECT_TRUE(to_torch(step.velocity).equal(to_torch(output.front().tensor)));
  ASSERT_EQ(step.states.size(), 2u);
  for (std::size_t cut = 0; cut < 2; ++cut) {
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(to_torch(step.states[cut][i].tensor).equal(to_torch(states[cut][i].tensor)));
    }
  }
}

TEST_F(GatherTest, RefusesCutsThatAreNone) {
  for (const std::vector<int>& cuts : {std::vector<int>{0}, {6}, {3, 3}, {4, 2}}) {
    const auto chain = StageChain::load(*model_, cuts, {}, 8);
    ASSERT_FALSE(chain.ok());
    EXPECT_EQ(chain.error().code, Errc::kInvalidArgument);
  }
}

TEST_F(GatherTest, SensitivityIsTheEnergyThatErrorsAddToTheVelocity) {
  GatherSettings settings{.cuts = {3}, .sigmas = {0.7, 0}, .probes = 64, .stage = {}};
  Gatherer gatherer = must(Gatherer::create(*model_, settings));
  const auto go_on = [](int) { return Result<void>(); };
  ASSERT_TRUE(gatherer.add_sensitivity(constants_, noise_, 1, go_on).ok());

  const Tail tail(*model_, constants_, noise_);
  const auto s = [&](std::size_t stream) { return gatherer.sums()[0].streams[stream].sensitivity[0].mean(); };
  const at::Tensor clean = tail.image();
  constexpr double kScale = 2e-2;
  constexpr int kTrials = 24;
  double measured = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    at::manual_seed(100 + trial);
    const at::Tensor error = kScale * at::randn_like(clean);
    const at::Tensor change = (tail.velocity(clean + error) - tail.velocity(clean - error)) / (2 * kScale);
    measured += change.pow(2).sum().item<double>() / kTrials;
  }
  // White errors of unit variance in every row add the trace of S for each.
  const std::int64_t d = clean.size(2), outputs = model_->info().latent_channels;
  const at::Tensor joined = s(0), costs = joined.narrow(0, 0, d).narrow(1, 0, d);
  EXPECT_NEAR(measured / (static_cast<double>(clean.size(1)) * costs.trace().item<double>()), 1, 0.15);
  // The probes are white, and gradients follow them as the velocity follows errors of its own row.
  const at::Tensor probes = joined.narrow(0, d, outputs).narrow(1, d, outputs);
  EXPECT_TRUE(at::allclose(probes, at::eye(outputs, at::kDouble), 0, 0.2));
  const at::Tensor response = joined.narrow(0, 0, d).narrow(1, d, outputs).to(at::kFloat);
  at::manual_seed(99);
  const at::Tensor error = kScale * at::randn_like(clean);
  const at::Tensor change = tail.velocity(clean + error) - tail.velocity(clean);
  const double left = (change - error.matmul(response)).pow(2).sum().item<double>();
  EXPECT_LT(left, 0.35 * change.pow(2).sum().item<double>());
  // Text rows are heard too, far less.
  EXPECT_GT(s(1).trace().item<double>(), 0);
  EXPECT_LT(s(1).trace().item<double>(), 0.2 * costs.trace().item<double>());
}

TEST_F(GatherTest, LoudRowsAreThoseWhoseErrorsTheResponseDoesNotMend) {
  GatherSettings settings{.cuts = {3}, .sigmas = {0.7, 0}, .probes = 64, .stage = {}};
  Gatherer gatherer = must(Gatherer::create(*model_, settings));
  const auto go_on = [](int) { return Result<void>(); };
  // The first job tells the response, the second what it leaves of each row.
  for (const std::uint64_t seed : {1, 2})
    ASSERT_TRUE(gatherer.add_sensitivity(constants_, noise_, seed, go_on).ok());
  ASSERT_TRUE(gatherer.add_moments(constants_, noise_, go_on).ok());
  const StreamSums& image = gatherer.sums()[0].streams[0];

  const Tail tail(*model_, constants_, noise_);
  const at::Tensor clean = tail.image();
  const at::Tensor loudness = image.loudness[0].of(clean[0]);
  EXPECT_NEAR(loudness.mean().item<double>(), image.mean_loudness[0], 1e-3 * image.mean_loudness[0]);
  const at::Tensor response =
      mean_response(image.sensitivity[0].mean(), clean.size(2)).to(at::kFloat).t();  // [d, outputs]
  const auto left_by_errors_of = [&](std::int64_t row) {
    double left = 0;
    for (int trial = 0; trial < 12; ++trial) {
      at::manual_seed(200 + trial);
      at::Tensor error = at::zeros_like(clean);
      error[0][row] = 2e-2 * at::randn({clean.size(2)});
      const at::Tensor change = (tail.velocity(clean + error) - tail.velocity(clean - error)) / 2;
      left += (change - error.matmul(response)).pow(2).sum().item<double>();
    }
    return left;
  };
  const double loudest = left_by_errors_of(loudness.argmax().item<std::int64_t>());
  const double quietest = left_by_errors_of(loudness.argmin().item<std::int64_t>());
  const double told = (loudness.max() / loudness.min()).item<double>();
  EXPECT_GT(told, 1.5);
  EXPECT_GT(loudest / quietest, std::sqrt(told));
  EXPECT_LT(loudest / quietest, told * told);
}

TEST_F(GatherTest, RowsAreAllAlikeBeforeTheResponseIsKnown) {
  GatherSettings settings{.cuts = {3}, .sigmas = {0.7, 0}, .probes = 64, .stage = {}};
  Gatherer gatherer = must(Gatherer::create(*model_, settings));
  const auto go_on = [](int) { return Result<void>(); };
  ASSERT_TRUE(gatherer.add_sensitivity(constants_, noise_, 1, go_on).ok());
  ASSERT_TRUE(gatherer.add_moments(constants_, noise_, go_on).ok());
  const std::vector<StreamSums>& streams = gatherer.sums()[0].streams;
  EXPECT_FALSE(streams[0].loudness[0].weights.defined());
  EXPECT_TRUE(streams[1].loudness[0].weights.defined());  // text has no response to wait for
}

TEST_F(GatherTest, JoinedRowsHoldWhatTheyPromise) {
  GatherSettings settings{.cuts = {3}, .sigmas = {1, 0.5, 0}, .probes = 1, .stage = {}};
  Gatherer gatherer = must(Gatherer::create(*model_, settings));
  int steps = 0;
  const auto count = [&](int) {
    ++steps;
    return Result<void>();
  };
  ASSERT_TRUE(gatherer.add_moments(constants_, noise_, count).ok());
  EXPECT_EQ(steps, 2);
  const std::int64_t d = model_->info().state[0].channels, n = model_->info().latent_channels;
  const StreamSums& image = gatherer.sums()[0].streams[0];
  const StreamSums& text = gatherer.sums()[0].streams[1];
  EXPECT_EQ(image.steps[0].mean().size(0), d + n + n);
  EXPECT_EQ(image.steps[1].mean().size(0), 2 * d + 2 * n + n);
  EXPECT_EQ(text.steps[0].mean().size(0), d);
  EXPECT_EQ(text.steps[1].mean().size(0), 2 * d);
  EXPECT_EQ(image.steps[0].count(), kGrid.tokens());
  // The mean of x is that of the noise, and w is the velocity of the step before.
  const at::Tensor first = image.steps[0].mean(), second = image.steps[1].mean();
  EXPECT_TRUE(at::allclose(first.narrow(0, d, n), to_torch(noise_)[0].to(at::kDouble).mean(0), 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(second.narrow(0, 2 * d + n, n), first.narrow(0, d + n, n), 1e-3, 1e-4));
}

}  // namespace
}  // namespace pinion::calibration
