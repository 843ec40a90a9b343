#include "pinion/worker/stage_codec.h"

#include <gmock/gmock.h>

#include <random>

#include "pinion/base/crc32c.h"
#include "pinion/base/float_formats.h"
#include "pinion/codec/fidelity/basis.h"
#include "pinion/transport/latents_delta.h"

namespace pinion::worker {
namespace {

using transport::Blob;
using transport::Message;

constexpr std::int64_t kTokens = 6;
constexpr std::int64_t kChannels = 4;
const Shape kLatentsShape{1, kTokens, kChannels};
const codec::BasisStore kNoBases{{}};

Tensor random_tensor(const Shape& shape, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  for (float& value : values) value = normal(generator);
  return Tensor::from_floats(values, shape);
}

Blob lossless(const Tensor& tensor) {
  const auto encoder = codec::Encoder::create({.mode = codec::Mode::kLossless}).value();
  return Blob::of(encoder->encode(tensor).value().frame);
}

StageCodecSetup setup(int stage, int stages) {
  StageCodecSetup setup;
  setup.state = {{"image", 8}};
  setup.latent_channels = kChannels;
  setup.batch = 1;
  setup.grid = {2, 3};
  setup.rows = kTokens;
  setup.blocks = {2 * stage, 2 * stage + 2};
  setup.stage = stage;
  setup.stages = stages;
  return setup;
}

// A step whose latents are `latents`, whole.
Message exact_step(const Tensor& latents, transport::Step& step) {
  step.job = std::string(32, 'a');
  step.sigma = {0.5f};
  step.latents = {};
  step.latents.form = "exact";
  step.latents.crc32c = crc32c(latents.view().span());
  step.latents.frame = 0;
  Message message;
  message.add(lossless(latents));
  return message;
}

// The same as a difference from the prediction.
Message predicted_step(const Tensor& latents, const Tensor& before, const Tensor& velocity,
                       bool with_velocity, transport::Step& step) {
  std::vector<float> prediction = floats_of(before);
  transport::predict_latents(prediction, floats_of(velocity), step.delta_sigma, prediction);
  step.latents = {};
  step.latents.form = "predicted";
  step.latents.crc32c = crc32c(latents.view().span());
  step.latents.delta = 0;
  Message message;
  message.add(Blob::of(transport::encode_latents_delta(floats_of(latents), prediction)));
  if (with_velocity) step.latents.velocity = message.add(lossless(velocity));
  return message;
}

std::string why(const Result<models::StepInput>& input) { return input.ok() ? "" : input.error().text; }

TEST(StageCodec, AnyLatentsAreRestoredBitForBit) {
  // Even those that have nothing to do with the prediction, as of a sampler that adds noise.
  StageCodec codec(setup(0, 1), kNoBases);
  transport::Step step;
  transport::TraceHop hop;
  Tensor latents = random_tensor(kLatentsShape, 1);
  Message message = exact_step(latents, step);
  for (unsigned number = 0; number < 6; ++number) {
    const Result<models::StepInput> input = codec.decode(step, message);
    ASSERT_TRUE(input.ok()) << input.error().text;
    EXPECT_EQ(floats_of(input->state.at(0).tensor), floats_of(latents));
    const Tensor velocity = random_tensor(kLatentsShape, 100 + number);
    ASSERT_TRUE(codec.encode(step, message, {{"velocity", velocity}}, hop).ok());
    const Tensor next = random_tensor(kLatentsShape, 200 + number);
    step.step = static_cast<int>(number) + 1;
    step.delta_sigma = -0.125f;
    message = predicted_step(next, latents, velocity, false, step);
    latents = next;
  }
}

TEST(StageCodec, AMiddleStagePassesTheLatentsOn) {
  StageCodec codec(setup(0, 3), kNoBases);
  const Tensor latents = random_tensor(kLatentsShape, 1);
  const Tensor state = random_tensor({1, kTokens, 8}, 2);
  transport::Step step;
  transport::TraceHop hop;
  Message message = exact_step(latents, step);
  ASSERT_TRUE(codec.decode(step, message).ok());
  Result<Message> onward = codec.encode(step, message, {{"image", state}}, hop);
  ASSERT_TRUE(onward.ok());
  Result<transport::Step> passed = transport::read_header<transport::Step>(*onward);
  ASSERT_TRUE(passed.ok()) << passed.error().text;
  EXPECT_EQ(passed->stage, 1);
  EXPECT_EQ(onward->blobs[*passed->latents.frame].bytes.data(), message.blobs[0].bytes.data());  // not copied

  const Tensor velocity = random_tensor(kLatentsShape, 3);
  const Tensor next = random_tensor(kLatentsShape, 4);
  step.delta_sigma = -0.25f;
  message = predicted_step(next, latents, velocity, true, step);
  ASSERT_TRUE(codec.decode(step, message).ok());
  onward = codec.encode(step, message, {{"image", state}}, hop);
  passed = transport::read_header<transport::Step>(*onward);
  EXPECT_TRUE(passed->latents.delta && passed->latents.velocity);

  // The last stage made the velocity itself.
  StageCodec before_last(setup(0, 2), kNoBases);
  transport::Step first;
  const Message start = exact_step(latents, first);
  ASSERT_TRUE(before_last.decode(first, start).ok());
  ASSERT_TRUE(before_last.decode(step, message).ok());
  passed =
      transport::read_header<transport::Step>(*before_last.encode(step, message, {{"image", state}}, hop));
  EXPECT_TRUE(passed->latents.delta && !passed->latents.velocity);
}

TEST(StageCodec, DrawsNoiseFromItsRecipe) {
  const auto draw = [](std::uint64_t seed, std::int64_t, std::int64_t, models::LatentGrid) {
    return random_tensor(kLatentsShape, static_cast<unsigned>(seed));
  };
  StageCodecSetup with_noise = setup(0, 1);
  with_noise.noise = {"mine:00000000", draw};
  transport::Step step;
  step.sigma = {0.5f};
  step.latents.form = "recipe";
  step.latents.recipe = transport::NoiseRecipe{"mine:00000000", 9};
  step.latents.crc32c = crc32c(random_tensor(kLatentsShape, 9).view().span());
  const Result<models::StepInput> input = StageCodec(with_noise, kNoBases).decode(step, {});
  ASSERT_TRUE(input.ok()) << input.error().text;
  EXPECT_EQ(floats_of(input->state.at(0).tensor), floats_of(random_tensor(kLatentsShape, 9)));

  EXPECT_THAT(why(StageCodec(setup(0, 1), kNoBases).decode(step, {})), testing::HasSubstr("not here"));
  step.latents.recipe->generator = "mine:00000001";
  EXPECT_THAT(why(StageCodec(with_noise, kNoBases).decode(step, {})), testing::HasSubstr("mine:00000001"));
  step.latents.recipe = transport::NoiseRecipe{"mine:00000000", 10};
  EXPECT_THAT(why(StageCodec(with_noise, kNoBases).decode(step, {})), testing::HasSubstr("other latents"));
  step.latents.recipe.reset();
  EXPECT_THAT(why(StageCodec(with_noise, kNoBases).decode(step, {})), testing::HasSubstr("no known form"));
}

TEST(StageCodec, SaysWhatDoesNotFit) {
  const Tensor latents = random_tensor(kLatentsShape, 1);
  transport::Step step;
  const Message message = exact_step(latents, step);
  const auto with = [&](const std::function<void(transport::Step&, Message&)>& change) {
    transport::Step changed = step;
    Message changed_message = message;
    change(changed, changed_message);
    return why(StageCodec(setup(0, 1), kNoBases).decode(changed, changed_message));
  };
  EXPECT_EQ(with([](auto&, auto&) {}), "");
  EXPECT_THAT(with([](auto& s, auto&) { s.sigma = {1, 1}; }), testing::HasSubstr("sigmas"));
  EXPECT_THAT(with([](auto& s, auto&) { s.latents.crc32c ^= 1; }), testing::HasSubstr("other latents"));
  EXPECT_THAT(with([](auto& s, auto&) { s.latents.form = "guessed"; }), testing::HasSubstr("no known form"));
  EXPECT_THAT(with([](auto& s, auto&) { s.state.emplace_back().name = "image"; }),
              testing::HasSubstr("state"));
  EXPECT_THAT(with([](auto&, auto& m) {
                m.blobs[0] = lossless(random_tensor({1, kTokens, 3}, 1));
              }),
              testing::HasSubstr("[1, 6, 3]"));
  EXPECT_THAT(with([](auto&, auto& m) {
                m.blobs[0] = lossless(random_tensor({1, 600, kChannels}, 1));
              }),
              testing::HasSubstr("latents"));
}

TEST(StageCodec, AStateMustHaveTheModelsTensors) {
  const Tensor latents = random_tensor(kLatentsShape, 1);
  const auto decode = [&](const std::string& name, const Tensor& state) {
    StageCodec codec(setup(1, 2), kNoBases);
    transport::Step step;
    Message message = exact_step(latents, step);
    transport::StatePart& part = step.state.emplace_back();
    part.name = name;
    part.frame = message.add(lossless(state));
    return why(codec.decode(step, message));
  };
  EXPECT_EQ(decode("image", random_tensor({1, kTokens, 8}, 2)), "");
  EXPECT_EQ(decode("image", random_tensor({1, kTokens - 1, 8}, 2)), "");  // rows are for the model to judge
  EXPECT_THAT(decode("video", random_tensor({1, kTokens, 8}, 2)), testing::HasSubstr("\"video\""));
  EXPECT_THAT(decode("image", random_tensor({1, kTokens, 7}, 2)), testing::HasSubstr("image"));
  EXPECT_THAT(decode("image", random_tensor({2, 3, 8}, 2)), testing::HasSubstr("image"));
  EXPECT_THAT(decode("image", random_tensor({1, 100, 8}, 2)), testing::HasSubstr("image"));
}

TEST(StageCodec, ReferencesOfCalibratedJobsArriveApart) {
  const Tensor latents = random_tensor(kLatentsShape, 1);
  const Tensor picture = random_tensor({1, kTokens, 8}, 2), references = random_tensor({1, 2, 8}, 3);
  const auto decode = [&](const std::string& profile, const TensorList& streams) {
    StageCodecSetup with_references = setup(1, 2);
    with_references.rows = kTokens + 2;
    with_references.profile = codec::parse_profile(profile).value();
    with_references.streams =
        codec::StateStreams{.picture = "image", .picture_rows = kTokens, .reference_rows = 2}.for_profile(
            with_references.profile);
    StageCodec codec(with_references, kNoBases);
    transport::Step step;
    Message message = exact_step(latents, step);
    for (const NamedTensor& stream : streams) {
      transport::StatePart& part = step.state.emplace_back();
      part.name = stream.name;
      part.frame = message.add(lossless(stream.tensor));
    }
    return codec.decode(step, message);
  };
  const Result<models::StepInput> input =
      decode("calibrated:30", {{"image", picture}, {"reference", references}});
  ASSERT_TRUE(input.ok()) << input.error().text;
  ASSERT_EQ(input->state.size(), 1u);
  std::vector<float> all = floats_of(picture);
  const std::vector<float> behind = floats_of(references);
  all.insert(all.end(), behind.begin(), behind.end());
  EXPECT_EQ(floats_of(input->state[0].tensor), all);

  const auto says = [&](const TensorList& streams, const std::string& text) {
    const Result<models::StepInput> refused = decode("calibrated:30", streams);
    EXPECT_THAT(why(refused), testing::HasSubstr(text));
    EXPECT_EQ(refused.error().code, Errc::kProtocol);
  };
  says({{"image", picture}}, "number of state tensors");
  says({{"reference", references}, {"image", picture}}, "in the place of");
  says({{"image", references}, {"reference", references}}, "2 rows");
  says({{"image", picture}, {"reference", picture}}, "6 of references");
  // All other profiles code the tensor whole.
  EXPECT_TRUE(decode("fidelity:20", {{"image", random_tensor({1, kTokens + 2, 8}, 4)}}).ok());
  EXPECT_FALSE(decode("fidelity:20", {{"image", picture}, {"reference", references}}).ok());
}

TEST(StageCodec, ABasisWiderThanItsStreamIsRefused) {
  const auto decode = [&](std::size_t state_channels, std::size_t velocity_channels) {
    const auto basis_of = [](std::size_t channels) {
      return Blob::of(codec::encode_basis(codec::Matrix(1, channels), std::vector<double>{1.0}));
    };
    StageCodec codec(setup(1, 2), kNoBases);
    transport::Step step;
    Message message = exact_step(random_tensor(kLatentsShape, 1), step);
    step.latents.velocity = message.add(lossless(random_tensor(kLatentsShape, 2)));
    step.latents.velocity_basis = message.add(basis_of(velocity_channels));
    transport::StatePart& part = step.state.emplace_back();
    part.name = "image";
    part.frame = message.add(lossless(random_tensor({1, kTokens, 8}, 3)));
    part.basis = message.add(basis_of(state_channels));
    const Result<models::StepInput> input = codec.decode(step, message);
    return input.ok() ? "" : std::string(name(input.error().code)) + ", " + input.error().text;
  };
  EXPECT_EQ(decode(8, kChannels), "");
  EXPECT_THAT(decode(9, kChannels), testing::StartsWith("too_large, stream \"image\""));
  EXPECT_THAT(decode(1 << 16, kChannels), testing::StartsWith("too_large, stream \"image\""));
  EXPECT_THAT(decode(8, kChannels + 1), testing::StartsWith("too_large, stream \"velocity\""));
}

}  // namespace
}  // namespace pinion::worker
