#include "tests/faults/toy_model.h"

#include <chrono>
#include <cstring>
#include <random>
#include <sstream>
#include <thread>

#include "pinion/base/file_io.h"
#include "pinion/base/float_formats.h"
#include "pinion/base/sha256.h"

namespace pinion::test {
namespace {

using models::BlockRange;
using models::JobConstants;
using models::ModelInfo;
using models::StageOptions;
using models::StepInput;
using models::StepOutput;

Tensor tensor_of(const std::vector<float>& values, const Shape& shape, DType dtype) {
  Tensor tensor = Tensor::empty(dtype, shape);
  from_float(values.data(), shape.elements(), dtype, tensor.mutable_data());
  return tensor;
}

struct ToySettings {
  int blocks = 4;
  int delay_ms = 0;
  std::string salt;
};

class ToyJob : public models::StageJob {
 public:
  ToyJob(BlockRange range, ToySettings settings, StageOptions options, JobConstants constants)
      : range_(range), settings_(std::move(settings)), options_(options), constants_(std::move(constants)) {}

  Result<StepOutput> step(const StepInput& input, const models::BlockObserver&) override {
    if (constants_.text_tokens == kToyOutOfMemoryTokens) {
      return Error{Errc::kOutOfMemory, "the toy has no memory for 13 tokens", "use another number"};
    }
    StepOutput state = range_.begin == 0 ? embed(input) : input.state;
    for (int block = range_.begin; block < range_.end; ++block) {
      std::this_thread::sleep_for(std::chrono::milliseconds(settings_.delay_ms));
      for (NamedTensor& entry : state) entry.tensor = run_block(entry.tensor, block, input.sigma.front());
    }
    return range_.end == settings_.blocks ? finish(state) : state;
  }

 private:
  std::int64_t tokens() const { return constants_.grid.tokens(); }

  // Each hidden channel is a latent channel, and the mean of the text is mixed in.
  StepOutput embed(const StepInput& input) const {
    const std::vector<float> latents = floats_of(input.state.front().tensor);
    const std::vector<float> context = floats_of(constants_.context);
    const std::int64_t rows = constants_.batch * tokens();
    std::vector<float> image(static_cast<std::size_t>(rows * kToyHiddenChannels));
    for (std::size_t i = 0; i < image.size(); ++i) {
      const std::size_t row = i / kToyHiddenChannels;
      image[i] = latents[row * kToyLatentChannels + i % kToyLatentChannels] * (i % 2 == 0 ? 1.0f : -0.5f);
    }
    const std::int64_t text_rows = constants_.batch * constants_.text_tokens;
    std::vector<float> text(static_cast<std::size_t>(text_rows * kToyHiddenChannels));
    for (std::size_t i = 0; i < text.size(); ++i) {
      text[i] = context[i / kToyHiddenChannels * kToyContextChannels + i % kToyContextChannels];
    }
    return {{"image", tensor_of(image, {constants_.batch, tokens(), kToyHiddenChannels}, options_.dtype)},
            {"text", tensor_of(text, {constants_.batch, constants_.text_tokens, kToyHiddenChannels},
                               options_.dtype)}};
  }

  Tensor run_block(const Tensor& state, int block, float sigma) const {
    std::vector<float> values = floats_of(state);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = values[i] * 0.875f + static_cast<float>(block + 1) * 0.03125f * sigma;
    }
    return tensor_of(values, state.shape(), options_.dtype);
  }

  StepOutput finish(const StepOutput& state) const {
    const std::vector<float> image = floats_of(state.front().tensor);
    std::vector<float> velocity(static_cast<std::size_t>(constants_.batch * tokens() * kToyLatentChannels));
    for (std::size_t i = 0; i < velocity.size(); ++i) {
      velocity[i] = image[i / kToyLatentChannels * kToyHiddenChannels + i % kToyLatentChannels];
    }
    return {
        {"velocity", tensor_of(velocity, {constants_.batch, tokens(), kToyLatentChannels}, options_.dtype)}};
  }

  BlockRange range_;
  ToySettings settings_;
  StageOptions options_;
  JobConstants constants_;
};

class ToyStage : public models::Stage {
 public:
  ToyStage(BlockRange range, ToySettings settings, StageOptions options)
      : range_(range), settings_(std::move(settings)), options_(options) {}

  BlockRange range() const override { return range_; }
  const StageOptions& options() const override { return options_; }
  std::size_t weight_bytes() const override { return static_cast<std::size_t>(range_.size()) * 1'000'000; }
  Result<std::unique_ptr<models::StageJob>> begin_job(JobConstants constants) override {
    if (range_.begin == 0 && !constants.context.defined()) {
      return Error{Errc::kInvalidArgument, "the first stage needs the context", ""};
    }
    return std::unique_ptr<models::StageJob>(
        std::make_unique<ToyJob>(range_, settings_, options_, std::move(constants)));
  }

 private:
  BlockRange range_;
  ToySettings settings_;
  StageOptions options_;
};

class ToyModel : public models::Model {
 public:
  ToyModel(std::filesystem::path path, ToySettings settings, std::string hash)
      : settings_(std::move(settings)), hash_(std::move(hash)) {
    info_.family = "toy";
    info_.path = std::move(path);
    info_.blocks.assign(static_cast<std::size_t>(settings_.blocks), {"toy", 1'000'000});
    info_.weight_dtype = DType::kF32;
    info_.latent_channels = kToyLatentChannels;
    info_.context_channels = kToyContextChannels;
    info_.state = {{"image", kToyHiddenChannels, true}, {"text", kToyHiddenChannels}};
  }

  const ModelInfo& info() const override { return info_; }
  Result<std::string> content_hash() override { return hash_; }
  Result<std::unique_ptr<models::Stage>> load_stage(BlockRange range, const StageOptions& options) override {
    return std::unique_ptr<models::Stage>(std::make_unique<ToyStage>(range, settings_, options));
  }

 private:
  ModelInfo info_;
  ToySettings settings_;
  std::string hash_;
};

Result<std::unique_ptr<models::Model>> open_toy(const std::filesystem::path& path) {
  PINION_TRY(const Bytes bytes, read_file(path, 4096));
  ToySettings settings;
  std::istringstream lines{std::string(as_text(bytes))};
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) return Error{Errc::kBadFormat, path.string() + " is no toy", ""};
    const std::string key = line.substr(0, equals);
    const std::string value = line.substr(equals + 1);
    if (key == "blocks") settings.blocks = std::stoi(value);
    if (key == "delay_ms") settings.delay_ms = std::stoi(value);
    if (key == "salt") settings.salt = value;
  }
  // Two toys that only differ in speed are the same model.
  const std::string content = std::to_string(settings.blocks) + settings.salt;
  return std::unique_ptr<models::Model>(
      std::make_unique<ToyModel>(path, settings, to_hex(sha256(as_bytes(content)))));
}

}  // namespace

void write_toy_model(const std::filesystem::path& path, int blocks, int delay_ms, const std::string& salt) {
  std::ostringstream text;
  text << "blocks=" << blocks << "\ndelay_ms=" << delay_ms << "\nsalt=" << salt << "\n";
  const Result<void> written = write_file(path, as_bytes(text.str()));
  PINION_ASSERT(written.ok());
}

Tensor toy_noise(std::uint64_t seed, std::int64_t batch, std::int64_t channels, models::LatentGrid grid) {
  const Shape shape{batch, grid.tokens(), channels};
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  for (float& value : values) value = normal(generator);
  return Tensor::from_floats(values, shape);
}

worker::Backend toy_backend() {
  worker::Backend backend;
  backend.list = [](const std::filesystem::path& folder) -> Result<std::vector<std::filesystem::path>> {
    std::vector<std::filesystem::path> paths;
    std::error_code code;
    for (const auto& entry : std::filesystem::directory_iterator(folder, code)) {
      if (entry.path().extension() == ".toy") paths.push_back(entry.path());
    }
    if (code) return Error{Errc::kNotFound, folder.string() + ": " + code.message(), ""};
    return paths;
  };
  backend.open = open_toy;
  backend.to_cpu = [](const Tensor& tensor) -> Result<Tensor> { return tensor; };
  backend.noise = {kToyGenerator, toy_noise};
  return backend;
}

}  // namespace pinion::test
