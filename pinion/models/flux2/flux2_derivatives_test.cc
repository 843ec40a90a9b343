// Derivatives of recorded steps, against differences of plain steps, and through chains of stages.

#include "pinion/models/flux2/flux2_test_support.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::flux2 {
namespace {

// A stage of a fixture's model with the state that enters it.
struct Part {
  std::unique_ptr<Stage> stage;
  std::unique_ptr<StageJob> job;
  StepInput input;
};

// The stages that meet at `cuts`, each with the input that the one before it made.
std::vector<Part> parts_of(Model& model, const ForwardCall& call, std::vector<int> cuts) {
  cuts.insert(cuts.begin(), 0);
  cuts.push_back(model.block_count());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<Part> parts;
  StepInput input = call.input;
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    Part part;
    part.stage = must(model.load_stage({cuts[i], cuts[i + 1]}, {test_device(), DType::kF32}));
    part.job = must(part.stage->begin_job(call.constants));
    part.input = input;
    input.state = must(part.job->step(input));
    parts.push_back(std::move(part));
  }
  return parts;
}

// Inputs lie on the CPU, outputs on the device of the tests: arithmetic here is on the CPU.
at::Tensor on_cpu(const Tensor& tensor) { return to_torch(tensor).cpu(); }
at::Tensor torch_of(const TensorList& list, const std::string& name) { return on_cpu(*find(list, name)); }

double dot(const TensorList& a, const TensorList& b) {
  double sum = 0;
  for (const NamedTensor& entry : a) {
    const at::Tensor x = on_cpu(entry.tensor).to(at::kDouble), y = torch_of(b, entry.name).to(at::kDouble);
    sum += (x * y).sum().item<double>();
  }
  return sum;
}

TensorList random_like(const TensorList& list, std::uint64_t seed) {
  at::manual_seed(seed);
  TensorList random;
  for (const NamedTensor& entry : list)
    random.push_back({entry.name, from_torch(at::randn_like(on_cpu(entry.tensor)))});
  return random;
}

// Each entry by a random part of its own size: fixtures have a token so small that the norms' eps shows.
TensorList proportional(const TensorList& list, std::uint64_t seed) {
  TensorList direction = random_like(list, seed);
  for (NamedTensor& entry : direction)
    entry.tensor = from_torch(on_cpu(entry.tensor) * torch_of(list, entry.name));
  return direction;
}

// list + factor * direction.
TensorList moved(const TensorList& list, const TensorList& direction, double factor) {
  TensorList result;
  for (const NamedTensor& entry : list) {
    result.push_back(
        {entry.name, from_torch(on_cpu(entry.tensor) + torch_of(direction, entry.name) * factor)});
  }
  return result;
}

class Flux2Derivatives : public ::testing::TestWithParam<FixtureCase> {};

TEST_P(Flux2Derivatives, AreThoseOfTheSteps) {
  auto model = must(open_model(model_path(GetParam())));
  const ForwardCall call = read_call(*model, GetParam().name);
  for (const Part& part : parts_of(*model, call, {1, model->block_count() - 1})) {
    const auto recorded = must(part.job->linearise(part.input));
    const StepOutput plain = must(part.job->step(part.input));
    for (const NamedTensor& entry : plain) {
      EXPECT_LE(relative_error(torch_of(recorded->output(), entry.name), on_cpu(entry.tensor)), 1e-6);
    }
    const TensorList cotangents = random_like(plain, 1);
    const TensorList direction = proportional(part.input.state, 2);
    const double scale = 1e-3;
    StepInput ahead = part.input, behind = part.input;
    ahead.state = moved(part.input.state, direction, scale);
    behind.state = moved(part.input.state, direction, -scale);
    const StepOutput after = must(part.job->step(ahead)), before = must(part.job->step(behind));
    const double measured = (dot(after, cotangents) - dot(before, cotangents)) / (2 * scale);
    const TensorList gradient = must(recorded->pull_back(cotangents));
    const double derived = dot(gradient, direction);
    double size = 0;  // of the terms that add up to it
    for (const NamedTensor& entry : gradient) {
      size += (on_cpu(entry.tensor) * torch_of(direction, entry.name)).norm().item<double>();
    }
    EXPECT_NEAR(derived, measured, 1e-2 * size) << "blocks from " << part.stage->range().begin;
  }
}

TEST_P(Flux2Derivatives, PassThroughCuts) {
  auto model = must(open_model(model_path(GetParam())));
  const ForwardCall call = read_call(*model, GetParam().name);
  const int middle = model->block_count() - 1;
  if (middle < 2) GTEST_SKIP() << "too few blocks for two cuts";
  const std::vector<Part> parts = parts_of(*model, call, {1, middle});
  const std::vector<Part> tail = parts_of(*model, call, {1});
  const auto whole = must(tail[1].job->linearise(tail[1].input));
  const TensorList cotangents = random_like(whole->output(), 3);
  const TensorList expected = must(whole->pull_back(cotangents));
  const auto last = must(parts[2].job->linearise(parts[2].input));
  const auto first = must(parts[1].job->linearise(parts[1].input));
  const TensorList got = must(first->pull_back(must(last->pull_back(cotangents))));
  for (const NamedTensor& entry : expected) {
    EXPECT_GT(on_cpu(entry.tensor).norm().item<double>(), 0) << entry.name;
    EXPECT_LE(relative_error(torch_of(got, entry.name), on_cpu(entry.tensor)), 1e-5) << entry.name;
  }
}

TEST_P(Flux2Derivatives, RefuseWhatIsNotTheirOutput) {
  auto model = must(open_model(model_path(GetParam())));
  const ForwardCall call = read_call(*model, GetParam().name);
  const std::vector<Part> parts = parts_of(*model, call, {1});
  const auto recorded = must(parts[1].job->linearise(parts[1].input));
  const auto unnamed = recorded->pull_back({});
  ASSERT_FALSE(unnamed.ok());
  EXPECT_EQ(unnamed.error().code, Errc::kInvalidArgument);
  const auto misshapen = recorded->pull_back({{"velocity", Tensor::empty(DType::kF32, {1, 1, 1})}});
  ASSERT_FALSE(misshapen.ok());
  EXPECT_EQ(misshapen.error().code, Errc::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Flux2Derivatives, ::testing::ValuesIn(all_cases()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace pinion::models::flux2
