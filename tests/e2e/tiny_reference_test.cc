// The trained tiny model draws what diffusers' own pipeline draws from the same seed (fixtures of
// tools/make_tiny_reference.py, float32 on the CPU).

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "pinion/base/safetensors.h"
#include "pinion/models/text_encoder.h"
#include "pinion/pipeline/generate.h"
#include "tests/support/worker_process.h"

namespace pinion {
namespace {

const std::string kModel = std::string(PINION_SOURCE_DIR) + "/models/tiny-flux2";
constexpr double kLeastPsnrDb = 45;
constexpr double kLargestLatentError = 1e-3;  // relative L2 after four steps of accumulated rounding

SafetensorsFile fixture(const std::string& name) {
  auto file =
      SafetensorsFile::open(std::string(PINION_SOURCE_DIR) + "/tests/fixtures/tiny/" + name + ".safetensors");
  if (!file.ok()) throw std::runtime_error(file.error().message());
  return std::move(file).value();
}

double relative_error(const Tensor& got, const Tensor& wanted) {
  const auto* a = reinterpret_cast<const float*>(got.view().data);
  const auto* b = reinterpret_cast<const float*>(wanted.view().data);
  double difference = 0, size = 0;
  for (std::int64_t i = 0; i < wanted.elements(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    size += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / size);
}

pipeline::Picture picture_of(const Tensor& image) {  // [height, width, 3], U8
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(image.view().data);
  return {static_cast<int>(image.shape()[1]), static_cast<int>(image.shape()[0]),
          std::vector<std::uint8_t>(bytes, bytes + image.bytes())};
}

pipeline::GenerateRequest request_of(const SafetensorsFile& file) {
  const auto& facts = file.header().metadata;
  pipeline::GenerateRequest request;
  request.model = kModel;
  request.prompt = facts.at("prompt");
  request.width = std::stoi(facts.at("width"));
  request.height = std::stoi(facts.at("height"));
  request.steps = std::stoi(facts.at("steps"));
  request.guidance = std::stod(facts.at("guidance"));
  request.seed = std::stoull(facts.at("seed"));
  request.device = *device_from_name(test::test_device());
  request.dtype = DType::kF32;
  return request;
}

void expect_reference(const pipeline::GenerateRequest& request, const SafetensorsFile& file) {
  pipeline::Cancellation cancellation;
  const auto result = pipeline::generate(
      request, [](const pipeline::Progress&) {}, cancellation);
  ASSERT_TRUE(result.ok()) << result.error().message();
  EXPECT_LT(relative_error(result->latents, file.tensor("final").value()), kLargestLatentError);
  const pipeline::PictureDifference difference =
      pipeline::compare(result->pictures.at(0), picture_of(file.tensor("image").value()));
  EXPECT_GE(difference.psnr_db, kLeastPsnrDb);
  testing::Test::RecordProperty("psnr_db", std::to_string(difference.psnr_db));
}

class TinyReference : public testing::TestWithParam<const char*> {};

TEST_P(TinyReference, DrawsThePictureOfDiffusers) {
  const SafetensorsFile file = fixture(GetParam());
  expect_reference(request_of(file), file);
}

INSTANTIATE_TEST_SUITE_P(Sizes, TinyReference, testing::Values("square", "wide", "small"),
                         [](const auto& test) { return std::string(test.param); });

TEST(TinyReferenceText, DrawsThePictureOfDiffusersFromComfyUisTextLayout) {
  const SafetensorsFile file = fixture("left");
  pipeline::GenerateRequest request = request_of(file);
  auto encoder = models::open_text_encoder(kModel, {.device = request.device, .dtype = DType::kF32},
                                           models::TextPadding::kAfterEncoder);
  ASSERT_TRUE(encoder.ok()) << encoder.error().message();
  const auto embeds = (*encoder)->encode({request.prompt});
  ASSERT_TRUE(embeds.ok()) << embeds.error().message();
  request.embeds = test::scratch_folder("embeds") + "/embeds.safetensors";
  ASSERT_TRUE(write_safetensors(request.embeds, {{"prompt_embeds", *embeds}}).ok());
  expect_reference(request, file);
}

// The picture depends on the prompt: without this, the comparisons above could pass on noise alone.
TEST(TinyReferenceText, AnotherPromptDrawsAnotherPicture) {
  const SafetensorsFile file = fixture("small");
  pipeline::GenerateRequest request = request_of(file);
  request.prompt = "a huge white ring on a black background";
  pipeline::Cancellation cancellation;
  const auto result = pipeline::generate(
      request, [](const pipeline::Progress&) {}, cancellation);
  ASSERT_TRUE(result.ok()) << result.error().message();
  EXPECT_LT(pipeline::compare(result->pictures.at(0), picture_of(file.tensor("image").value())).psnr_db,
            20.0);
}

}  // namespace
}  // namespace pinion
