// Linear models from sums, on rows whose best model is known.

#include "pinion/calibration/solve.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

namespace pinion::calibration {
namespace {

using at::Tensor;

TEST(Moments, DoNotDependOnHowTheRowsCame) {
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);
  const Tensor rows = at::randn({300, 5}, generator, at::TensorOptions(at::kFloat)) + 1000;
  Moments whole, parts;
  whole.add(rows);
  for (const auto& [begin, count] : {std::pair{0, 7}, {7, 200}, {207, 93}})
    parts.add(rows.narrow(0, begin, count));
  const Tensor exact = rows.to(at::kDouble);
  const Tensor centred = exact - exact.mean(0);
  for (const Moments* moments : {&whole, &parts}) {
    EXPECT_EQ(moments->count(), 300);
    EXPECT_TRUE(at::allclose(moments->mean(), exact.mean(0), 1e-7, 1e-6));
    EXPECT_TRUE(at::allclose(moments->covariance(), centred.t().matmul(centred) / 300, 1e-4, 1e-4));
  }
}

// Two steps of states h = latents B + carried + innovation, of which the velocity h M hears n directions.
struct Made {
  static constexpr std::int64_t d = 24, n = 4, rows = 6000;
  static constexpr double innovation = 0.25;
  StreamSums sums;
  std::vector<Tensor> states, latents;
  Tensor hears;  // M, [d, n]

  Made() {
    sums.schema = {"image", d, true};
    sums.steps.resize(2);
    const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(2);
    const auto normal = [&](std::int64_t r, std::int64_t c) {
      return at::randn({r, c}, generator, at::TensorOptions(at::kFloat));
    };
    hears = normal(d, n) / std::sqrt(static_cast<double>(d));
    const Tensor from_latents = normal(n, d), from_before = normal(d, d) / std::sqrt(2.0 * d);
    const Tensor x0 = normal(rows, n), x1 = x0 - 0.5 * normal(rows, n);
    const Tensor h0 = x0.matmul(from_latents) + innovation * normal(rows, d) + 3;
    const Tensor h1 = x1.matmul(from_latents) + h0.matmul(from_before) + innovation * normal(rows, d);
    sums.steps[0].add(at::cat({h0, x0, h0.matmul(hears)}, 1));
    sums.steps[1].add(at::cat({h1, h0, x1, (x1 - x0) / -0.5, h1.matmul(hears)}, 1));
    sums.sensitivity.resize(2);
    for (Gram& step : sums.sensitivity) step.add(hears.t().contiguous());
    states = {h0, h1};
    latents = {x0, at::cat({x1, (x1 - x0) / -0.5}, 1)};
  }

  static Tensor plain() { return at::eye(n, at::kDouble); }

  // S = M M^T: the sum that was added is its n-th part.
  static SolveSettings settings() {
    return {.components = n, .regularisation = 1e-6, .ridge = 1e-9, .reference_step = 1e-3};
  }
};

TEST(SolveStream, FindsWhatTheTailHearsAndLatentsDoNotTell) {
  const Made made;
  const Result<StreamModel> model = solve_state(made.sums, made.sums, Made::plain(), Made::settings());
  ASSERT_TRUE(model.ok()) << model.error().message();
  ASSERT_EQ(model->projection.sizes(), (std::vector<std::int64_t>{Made::d, Made::n}));
  // The innovation is white: heard, it has the energy of M's columns. S was given as M M^T / n.
  const double expected =
      Made::innovation * Made::innovation * made.hears.pow(2).sum().item<double>() / Made::n;
  const double first = model->steps[0].alone.deviations.pow(2).sum().item<double>();
  EXPECT_NEAR(first / expected, 1, 0.05);
  // After it the state is known only in what was heard, so a little more is left.
  EXPECT_GE(model->steps[1].history.deviations.pow(2).sum().item<double>(), 0.95 * expected);
  // The components are everything that the velocity is made of.
  const Tensor centred = made.states[0].to(at::kDouble) - model->steps[0].mean;
  const Tensor u = made.latents[0].to(at::kDouble) - model->steps[0].latent_mean;
  const Tensor rebuilt = at::cat({centred.matmul(model->projection), u}, 1).matmul(model->reconstruction);
  const Tensor hears = made.hears.to(at::kDouble);
  const double missed = (rebuilt - centred).matmul(hears).pow(2).sum().item<double>();
  EXPECT_LE(missed / centred.matmul(hears).pow(2).sum().item<double>(), 1e-3);
}

TEST(SolveStream, NoiseOfTheComponentsIsTheErrorOfTheVelocity) {
  const Made made;
  const StreamModel model = solve_state(made.sums, made.sums, Made::plain(), Made::settings()).value();
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(3);
  const Tensor noise = 1e-2 * at::randn({Made::rows, Made::n}, generator, at::TensorOptions(at::kDouble));
  const Tensor error =
      noise.matmul(model.reconstruction.narrow(0, 0, Made::n)).matmul(made.hears.to(at::kDouble));
  // S was given as M M^T / n.
  const double heard = error.pow(2).sum().item<double>() / Made::n;
  EXPECT_NEAR(heard / noise.pow(2).sum().item<double>(), 1, 0.03);
  EXPECT_NEAR(heard / noise.pow(2).matmul(model.steps[0].gain).sum().item<double>(), 1, 1e-3);
}

// A velocity that follows its own row up to a little from elsewhere: what follows is told as the response,
// and only the rest counts.
TEST(SolveStream, CorrectedErrorsCountByWhatTheResponseLeaves) {
  Made made;
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(4);
  const Tensor probes = at::randn({Made::rows, Made::n}, generator, at::TensorOptions(at::kFloat));
  const Tensor others = 0.1 * at::randn({Made::rows, Made::d}, generator, at::TensorOptions(at::kFloat));
  for (Gram& step : made.sums.sensitivity) {
    step = Gram();
    step.add(at::cat({probes.matmul(made.hears.t()) + others, probes}, 1));
  }
  SolveSettings settings = Made::settings();
  settings.components = Made::d;
  const StreamModel model = solve_state(made.sums, made.sums, Made::plain(), settings).value();
  const Tensor hears = made.hears.to(at::kDouble);
  for (const StepModel& step : model.steps) {
    ASSERT_EQ(step.response.sizes(), (std::vector<std::int64_t>{Made::d, Made::n}));
    EXPECT_TRUE(at::allclose(step.response, hears, 0, 0.01));
  }
  // An error e costs what others make of it: .1^2 e^2, whichever way it points.
  const Tensor rebuilt = model.reconstruction.narrow(0, 0, Made::d);
  const Tensor expected = 0.01 * rebuilt.pow(2).sum(1);
  EXPECT_TRUE(at::allclose(model.steps[0].gain, expected, 0.1, 0));
  settings.is_corrected = false;
  const StreamModel plain = solve_state(made.sums, made.sums, Made::plain(), settings).value();
  EXPECT_FALSE(plain.steps[0].response.defined());
  const Tensor all = plain.reconstruction.narrow(0, 0, Made::d);
  const Tensor costs = hears.matmul(hears.t()) + 0.01 * at::eye(Made::d, at::kDouble);
  EXPECT_TRUE(at::allclose(plain.steps[0].gain, all.matmul(costs).mul(all).sum(1), 0.1, 0));
}

// What is carried on exactly is predicted exactly, however faintly it is heard: in y's units it is far below
// the latents, whose scale the ridge follows.
TEST(SolveStream, WhatIsFaintButCarriedOnIsPredicted) {
  constexpr std::int64_t d = 8, n = 4, rows = 4000;
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(6);
  const auto normal = [&](std::int64_t r, std::int64_t c) {
    return at::randn({r, c}, generator, at::TensorOptions(at::kFloat));
  };
  const Tensor from_latents = normal(n, d), carried = normal(rows, d), x0 = normal(rows, n);
  const Tensor x1 = x0 - 0.5 * normal(rows, n);
  const Tensor h0 = x0.matmul(from_latents) + carried, h1 = x1.matmul(from_latents) + carried;
  StreamSums sums;
  sums.schema = {"image", d, true};
  sums.steps.resize(2);
  sums.steps[0].add(at::cat({h0, x0, x0}, 1));
  sums.steps[1].add(at::cat({h1, h0, x1, (x1 - x0) / -0.5, x1}, 1));
  sums.sensitivity.resize(2);
  for (Gram& step : sums.sensitivity) step.add(0.05 * at::eye(d, at::kFloat));
  const StepModel step = solve_state(sums, sums, at::eye(n, at::kDouble), {.components = d}).value().steps[1];
  EXPECT_LT(step.history.deviations.max().item<double>(), 0.2 * step.alone.deviations.min().item<double>());
}

// Rows whose loudness hardly differs keep none, so that encoders may transform them; without latents there is
// nothing to transform.
TEST(SolveStream, KeepsLoudnessWhereItPays) {
  Made made;
  const auto with = [&](double weight, double mean_loudness) {
    made.sums.loudness.assign(
        2, {at::zeros({Made::d}, at::kDouble), at::full({Made::d}, weight, at::kDouble), 0});
    made.sums.mean_loudness.assign(2, mean_loudness);
    return solve_state(made.sums, made.sums, Made::plain(), Made::settings()).value().steps[0];
  };
  // The states' mean is 3 in the first step, above that of the rows that the loudness was learned from.
  const double typical = 0.01 * 3 * Made::d;
  const StepModel different = with(0.01, std::exp2(typical + 0.5));
  ASSERT_TRUE(different.loudness.defined());
  EXPECT_NEAR(different.loudness_bias, -0.5, 0.05);
  EXPECT_FALSE(with(0, std::exp2(0.15)).loudness.defined());
  EXPECT_TRUE(with(0, std::exp2(0.25)).loudness.defined());
}

// Made rows have 24 channels of which the velocity hears 4 directions: below the 256 that a solution begins
// with, so all channels are taken; a given number is kept although it leaves a floor.
TEST(SolveStream, TakesAsManyComponentsAsItNeeds) {
  const Made made;
  SolveSettings settings = Made::settings();
  settings.components = 0;
  EXPECT_EQ(solve_state(made.sums, made.sums, Made::plain(), settings)->projection.size(1), Made::d);
  settings.components = 2;
  const StreamModel few = solve_state(made.sums, made.sums, Made::plain(), settings).value();
  EXPECT_EQ(few.projection.size(1), 2);
  EXPECT_GT(few.steps[0].floor, 1e-3 * few.steps[0].output_energy);
}

TEST(SolveVelocity, IsWhatTheLatentsDoNotTell) {
  const Made made;
  const Result<StreamModel> velocity = solve_velocity(made.sums, Made::plain(), Made::settings());
  ASSERT_TRUE(velocity.ok()) << velocity.error().message();
  EXPECT_FALSE(velocity->has_history);
  EXPECT_TRUE(at::allclose(velocity->projection.matmul(velocity->projection.t()),
                           at::eye(Made::n, at::kDouble), 0, 1e-5));
  const double heard = made.hears.pow(2).sum().item<double>() * Made::innovation * Made::innovation;
  EXPECT_NEAR(velocity->steps[0].alone.deviations.pow(2).sum().item<double>() / heard, 1, 0.05);
  EXPECT_TRUE(at::allclose(velocity->steps[0].gain, at::ones({Made::n}, at::kDouble), 1e-3, 0));
  EXPECT_LE(velocity->steps[0].floor, 1e-4 * velocity->steps[0].output_energy);
}

TEST(SolveStream, SaysWhenThereWereTooFewRows) {
  StreamSums sums;
  sums.schema.name = "image";
  sums.schema.has_latent_rows = true;
  sums.schema.channels = 24;
  sums.steps.resize(1);
  sums.steps[0].add(at::ones({20, 24}));
  sums.sensitivity.resize(1);
  sums.sensitivity[0].add(at::ones({20, 24}));
  const Result<StreamModel> model = solve_state(sums, sums, at::eye(4, at::kDouble), {});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace pinion::calibration
