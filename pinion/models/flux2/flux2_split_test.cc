// A model that is run in several stages gives the bits of the model that is run whole, and reads no more of
// the file than its blocks need.

#include "pinion/models/flux2/flux2_spec.h"
#include "pinion/models/flux2/flux2_test_support.h"
#include "pinion/models/flux2/flux2_weights.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::flux2 {
namespace {

// The state after running stages that meet at `cuts`, each made and handed its input as another process
// would: as copies in host memory.
at::Tensor run_split(Model& model, const ForwardCall& call, DType dtype, std::vector<int> cuts) {
  cuts.insert(cuts.begin(), 0);
  cuts.push_back(model.block_count());
  StepInput input = call.input;
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    JobConstants constants = call.constants;
    if (i > 0) constants.context = constants.reference_latents = Tensor();
    auto stage = must(model.load_stage({cuts[i], cuts[i + 1]}, {test_device(), dtype}));
    auto job = must(stage->begin_job(constants));
    StepOutput output = must(job->step(input));
    for (NamedTensor& entry : output) entry.tensor = Tensor::copy_of(must(to_cpu(entry.tensor)));
    input.state = std::move(output);
  }
  return to_torch(input.state.front().tensor);
}

// Bits, so that two NaNs of different payload or a -0 for a 0 count as different.
bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         a.contiguous().view(at::kByte).equal(b.contiguous().view(at::kByte));
}

struct SplitCase {
  std::string name;
  FixtureCase fixture;
  DType dtype;
};

std::vector<SplitCase> split_cases() {
  std::vector<SplitCase> cases;
  for (const FixtureCase& fixture : all_cases()) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      cases.push_back({fixture.name + "_" + std::string(name(dtype)), fixture, dtype});
    }
  }
  return cases;
}

class Flux2Split : public ::testing::TestWithParam<SplitCase> {};

TEST_P(Flux2Split, EveryCutGivesTheBitsOfTheWholeModel) {
  auto model = must(open_model(model_path(GetParam().fixture)));
  ForwardCall call = read_call(*model, GetParam().fixture.name);
  call.constants.velocity_of_references = false;
  const at::Tensor whole = run_split(*model, call, GetParam().dtype, {});
  for (int cut = 1; cut < model->block_count(); ++cut) {
    EXPECT_TRUE(same_bits(run_split(*model, call, GetParam().dtype, {cut}), whole)) << "cut " << cut;
    for (int second = cut + 1; second < model->block_count(); ++second) {
      EXPECT_TRUE(same_bits(run_split(*model, call, GetParam().dtype, {cut, second}), whole))
          << "cuts " << cut << ", " << second;
    }
  }
}

TEST_P(Flux2Split, AStepLeavesNoTraceInTheJob) {
  auto model = must(open_model(model_path(GetParam().fixture)));
  const ForwardCall call = read_call(*model, GetParam().fixture.name);
  auto stage = must(model->load_stage({0, model->block_count()}, {test_device(), GetParam().dtype}));
  auto job = must(stage->begin_job(call.constants));
  StepInput other = call.input;
  for (float& sigma : other.sigma) sigma *= 0.5f;
  const at::Tensor first = to_torch(must(job->step(call.input)).front().tensor).cpu();
  const at::Tensor between = to_torch(must(job->step(other)).front().tensor).cpu();
  const at::Tensor again = to_torch(must(job->step(call.input)).front().tensor).cpu();
  EXPECT_TRUE(same_bits(first, again));
  EXPECT_FALSE(same_bits(first, between));
}

INSTANTIATE_TEST_SUITE_P(AllCases, Flux2Split, ::testing::ValuesIn(split_cases()),
                         [](const auto& tested) { return tested.param.name; });

TEST(Flux2Split, APictureOfUsualSizeSplitsExactlyToo) {
  // Large enough for the threaded and blocked kernels that small matrices never reach.
  const FixtureCase fixture{"klein_head128_fp8"};
  auto model = must(open_model(model_path(fixture)));
  ForwardCall call = read_call(*model, fixture.name);
  const auto random = [](std::int64_t tokens, std::int64_t channels) {
    return from_torch(at::randn({2, tokens, channels}, at::detail::createCPUGenerator(tokens)));
  };
  call.constants.batch = 2;
  call.constants.grid = {24, 20};
  call.constants.text_tokens = 128;
  call.constants.context = random(128, model->info().context_channels);
  call.input.sigma = {0.75f, 0.25f};
  call.input.state = {{"latents", random(480, model->info().latent_channels)}};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    EXPECT_TRUE(same_bits(run_split(*model, call, dtype, {1}), run_split(*model, call, dtype, {})));
  }
}

TEST(Flux2Split, LayoutsOfTheSameWeightsGiveTheSameBits) {
  // The same numbers at other places in another file: diffusers' layout against BFL's.
  const FixtureCase fixture{"klein_diffusers", true};
  const TemporaryFolder folder;
  auto model = must(open_model(model_path(fixture)));
  const Family* family = find_family(model->info().family);
  const Checkpoint checkpoint =
      must(family->open_checkpoint(must(Weights::open(transformer_path(model_path(fixture))))));
  EditableWeights bfl;
  for (const TensorGroup& group : checkpoint.groups()) {
    for (const CanonicalTensor& tensor : group.tensors) {
      std::vector<at::Tensor> pieces;
      for (const Piece& piece : tensor.pieces) {
        pieces.push_back(to_torch(must(checkpoint.weights().tensor(piece.range.tensor)))
                             .narrow(0, piece.range.row_begin, piece.range.rows));
      }
      bfl["model.diffusion_model." + tensor.name] = at::cat(pieces, 0);
    }
  }
  write_weights(folder / "bfl.safetensors", bfl);
  auto other = must(open_model(folder / "bfl.safetensors"));
  const ForwardCall call = read_call(*model, fixture.name);
  EXPECT_TRUE(same_bits(run_split(*other, call, DType::kF32, {2}), run_split(*model, call, DType::kF32, {})));
}

// What a stage of a fixture reads, counted by the file itself.
std::size_t bytes_read_by(const FixtureCase& fixture, BlockRange range) {
  const Weights weights = must(Weights::open(transformer_path(model_path(fixture))));
  const FileLayout layout = find_layout(weights).value();
  const Spec spec = must(read_spec(weights, layout));
  const Checkpoint checkpoint = must(Checkpoint::resolve(weights, wanted_groups(spec, layout)));
  const std::size_t before = weights.bytes_read();
  must(load_stage_weights(checkpoint, spec, range, {test_device(), DType::kF32}));
  return weights.bytes_read() - before;
}

TEST(Flux2Loading, AStageReadsItsOwnTensorsAndNoOthers) {
  for (const FixtureCase& fixture : all_cases()) {
    auto model = must(open_model(model_path(fixture)));
    const Checkpoint checkpoint =
        must(find_family(model->info().family)
                 ->open_checkpoint(must(Weights::open(transformer_path(model_path(fixture))))));
    const auto bytes = [&](const std::string& group) { return checkpoint.group(group).stored_bytes; };
    const int blocks = model->block_count();
    const auto of_kind = [&](int block, const char* kind) {
      return model->info().blocks[static_cast<std::size_t>(block)].kind == kind;
    };
    for (int begin = 0; begin < blocks; ++begin) {
      for (int end = begin + 1; end <= blocks; ++end) {
        std::size_t expected = bytes("time");
        if (begin == 0) expected += bytes("embed");
        if (end == blocks) expected += bytes("finish");
        if (of_kind(begin, "double")) expected += bytes("double modulation");
        if (of_kind(end - 1, "single")) expected += bytes("single modulation");
        for (int block = begin; block < end; ++block) expected += bytes(block_group(block));
        EXPECT_EQ(bytes_read_by(fixture, {begin, end}), expected)
            << fixture.name << " " << begin << ":" << end;
      }
    }
  }
}

TEST(Flux2Loading, TheSizesOfTheGroupsAreThatOfTheFile) {
  const FixtureCase fixture{"klein_bfl_batch"};
  auto model = must(open_model(model_path(fixture)));
  const ModelInfo& info = model->info();
  std::size_t sum = info.embed_bytes + info.shared_bytes + info.finish_bytes;
  for (const BlockInfo& block : info.blocks) sum += block.weight_bytes;
  std::size_t stored = 0;
  for (const NamedTensor& entry : read_file_tensors(model_path(fixture))) stored += entry.tensor.bytes();
  EXPECT_EQ(sum, stored);
  EXPECT_EQ(info.weight_dtype, DType::kBF16);
}

}  // namespace
}  // namespace pinion::models::flux2
