// `pinion codec --device`: what is refused anywhere, and frames of a device against those of the CPU.

#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/calibrated/calibration_testing.h"
#include "pinion/codec/codec_testing.h"
#include "pinion/codec/container.h"
#include "tests/codec_program/codec_program_testing.h"

namespace pinion::test {
namespace {

using codec::testing::same_tensor;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr std::int64_t kRows = 96, kChannels = 64;

class CodecDeviceProgram : public CodecProgram {
 protected:
  CodecDeviceProgram() {
    codec::testing::Dice dice(7);
    std::vector<float> values(kRows * kChannels);
    for (float& value : values) value = static_cast<float>(dice.normal());
    for (int step = 0; step < 3; ++step) {
      for (float& value : values) value += static_cast<float>(0.02 * dice.normal());
      tensors_.push_back({"cut2.image.t" + std::to_string(step),
                          codec::testing::tensor_of(DType::kBF16, {kRows, kChannels}, values)});
    }
    in_ = write("in.safetensors", tensors_);
  }

  bool has_device() const {
    return run({"encode", in_, file("probe.pnf"), "--mode", "int8", "--device", "cuda:0"}).exit_code == 0;
  }

  TensorList decoded(const std::string& from, std::vector<std::string> more) const {
    more.insert(more.begin(), {"decode", file(from), file("out.safetensors")});
    expect_done(more);
    return read("out.safetensors");
  }

  // Successive states near one subspace.
  static TensorList low_rank_job(const codec::testing::LowRank& form) {
    TensorList job;
    for (const Tensor& tensor : codec::testing::low_rank_sequence(DType::kBF16, 4, form))
      job.push_back({"cut2.image.t" + std::to_string(job.size()), tensor});
    return job;
  }

  // As the frames of a file say.
  std::vector<codec::RowLayout> layouts(const std::string& from,
                                        const codec::Calibration& calibration) const {
    const auto content = MappedFile::open(file(from)).value();
    const auto container = codec::parse_container(content->bytes()).value();
    std::vector<codec::RowLayout> found;
    for (const codec::ContainerFrame& frame : container.frames) {
      const auto parsed = codec::parse_frame(frame.frame, codec::testing::kGenerous).value();
      found.push_back(codec::parse_calibrated(parsed, calibration)->params.layout);
    }
    return found;
  }

  TensorList tensors_;
  std::string in_;
};

TEST_F(CodecDeviceProgram, SaysWhatItCannotDo) {
  expect_failure({"bench", in_, "--device", "tpu"}, "--device 'tpu' is neither cpu nor cuda:N");
  for (const std::string mode : {"raw", "calibrated:64kB"}) {
    expect_failure({"encode", in_, file("out.pnf"), "--mode", mode, "--device", "cuda:0"},
                   " is not encoded on cuda:0 (all modes but raw and budgets of bytes are");
  }
  for (const std::string command : {"encode", "decode", "bench"}) {
    std::vector<std::string> arguments{command, in_};
    if (command != "bench") arguments.push_back(file("out"));
    if (command != "decode") arguments.insert(arguments.end(), {"--mode", "int8"});
    arguments.insert(arguments.end(), {"--device", "cuda:99"});
    const ProcessResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_THAT(result.err,
                AnyOf(HasSubstr("built without the codec's CUDA kernels"), HasSubstr("no CUDA device 99")));
  }
}

TEST_F(CodecDeviceProgram, BenchSaysWhereItRan) {
  for (const auto& row : json_of({"bench", in_, "--mode", "int8"})) EXPECT_EQ(row.at("device"), "cpu");
}

TEST_F(CodecDeviceProgram, FramesDecodeOnEitherSide) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device here: nothing of --device was tested";
  for (const std::string mode : {"lossless", "bounded:.05", "int8", "int4"}) {
    SCOPED_TRACE(mode);
    for (const std::string from : {"cpu", "cuda:0"}) {
      expect_done({"encode", in_, file(from + ".pnf"), "--sequence", "--mode", mode, "--device", from});
    }
    const TensorList expected = decoded("cpu.pnf", {});
    for (const std::string from : {"cpu", "cuda:0"}) {
      for (const std::string to : {"cpu", "cuda:0"}) {
        SCOPED_TRACE(from + " to " + to);
        const TensorList arrived = decoded(from + ".pnf", {"--device", to});
        ASSERT_EQ(arrived.size(), tensors_.size());
        for (std::size_t i = 0; i < arrived.size(); ++i) {
          EXPECT_TRUE(same_tensor(arrived[i].tensor, expected[i].tensor)) << arrived[i].name;
        }
      }
    }
  }
}

TEST_F(CodecDeviceProgram, DecodesFidelity) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device here: nothing of --device was tested";
  expect_done({"encode", in_, file("out.pnf"), "--sequence", "--mode", "fidelity:25"});
  const TensorList here = decoded("out.pnf", {}), there = decoded("out.pnf", {"--device", "cuda:0"});
  ASSERT_EQ(here.size(), there.size());
  for (std::size_t i = 0; i < here.size(); ++i) {
    EXPECT_GT(codec::testing::measure_again(here[i].tensor, there[i].tensor).snr_db, 45) << here[i].name;
  }
}

// A constant tensor is sent exactly, and the frame behind it predicts from the one before it.
TEST_F(CodecDeviceProgram, ALargerTensorBetweenLeavesTheStreamAsItWas) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device here: nothing of --device was tested";
  TensorList job = tensors_;
  job[1].tensor = codec::testing::filled(DType::kBF16, {2 * kRows, kChannels}, std::byte(0));
  expect_done(
      {"encode", write("job.safetensors", job), file("job.pnf"), "--sequence", "--mode", "fidelity:25"});
  const TensorList here = decoded("job.pnf", {}), there = decoded("job.pnf", {"--device", "cuda:0"});
  ASSERT_EQ(there.size(), job.size());
  for (const std::size_t i : {0, 2}) {
    EXPECT_GT(codec::testing::measure_again(here[i].tensor, there[i].tensor).snr_db, 45) << here[i].name;
  }
}

TEST_F(CodecDeviceProgram, EncodesFidelityInABasis) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device here: nothing of --device was tested";
  const TensorList job = low_rank_job({.rows = 2048, .channels = 256, .rank = 24, .seed = 12});
  const std::string in = write("job.safetensors", job);
  expect_done({"encode", in, file("job.pnf"), "--sequence", "--mode", "fidelity:20", "--device", "cuda:0"});
  const TensorList here = decoded("job.pnf", {}), there = decoded("job.pnf", {"--device", "cuda:0"});
  ASSERT_EQ(here.size(), job.size());
  ASSERT_EQ(there.size(), job.size());
  for (std::size_t i = 0; i < job.size(); ++i) {
    EXPECT_NEAR(codec::testing::measure_again(job[i].tensor, here[i].tensor).snr_db, 20, 0.4);
    EXPECT_GT(codec::testing::measure_again(here[i].tensor, there[i].tensor).snr_db, 45) << here[i].name;
  }
  const std::vector<std::string> bench{"bench", in, "--sequence", "--mode", "fidelity:20"};
  std::vector<std::string> bench_there = bench;
  bench_there.insert(bench_there.end(), {"--device", "cuda:0"});
  const auto rows = json_of(bench_there), rows_here = json_of(bench);
  ASSERT_EQ(rows.size(), job.size());
  double bytes = 0, bytes_here = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].at("key_frame"), i == 0);
    EXPECT_EQ(rows[i].at("basis_bytes"), rows_here[i].at("basis_bytes"));
    EXPECT_EQ(rows[i].at("basis_bytes") > 0, i == 0);
    EXPECT_NEAR(rows[i].at("snr_db"), 20, 0.4);
    bytes += rows[i].at("frame_bytes").get<double>();
    bytes_here += rows_here[i].at("frame_bytes").get<double>();
  }
  EXPECT_NEAR(bytes / bytes_here, 1, 0.1);
}

// What is out of a basis's reach gets another, and only what no basis helps is sent exactly.
TEST_F(CodecDeviceProgram, ABasisThatServesNoLongerIsReplaced) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device here: nothing of --device was tested";
  TensorList job = low_rank_job({.rows = 512, .channels = 128, .seed = 13});
  const TensorList others = low_rank_job({.rows = 512, .channels = 128, .seed = 14});
  for (const std::size_t i : {1, 3}) job[i].tensor = others[i].tensor;
  job[2].tensor = codec::testing::filled(DType::kBF16, {512, 128}, std::byte(0));
  const std::string in = write("job.safetensors", job);
  expect_done({"encode", in, file("job.pnf"), "--sequence", "--mode", "fidelity:20", "--device", "cuda:0"});
  const TensorList here = decoded("job.pnf", {});
  ASSERT_EQ(here.size(), job.size());
  EXPECT_TRUE(same_tensor(here[2].tensor, job[2].tensor));
  const auto rows = json_of({"bench", in, "--sequence", "--mode", "fidelity:20", "--device", "cuda:0"});
  for (const std::size_t i : {0, 1, 3}) {
    EXPECT_NEAR(codec::testing::measure_again(job[i].tensor, here[i].tensor).snr_db, 20, 0.4);
    EXPECT_TRUE(rows[i].at("key_frame"));
    EXPECT_GT(rows[i].at("basis_bytes"), 0);
    EXPECT_LT(rows[i].at("frame_bytes"), 512 * 128 / 4);
  }
  EXPECT_EQ(rows[2].at("basis_bytes"), 0);
}

TEST_F(CodecDeviceProgram, BenchMeasuresThere) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device here: nothing of --device was tested";
  const std::vector<std::string> bench{"bench", in_, "--sequence", "--mode", "lossless", "--mode", "int8"};
  std::vector<std::string> bench_there = bench;
  bench_there.insert(bench_there.end(), {"--device", "cuda:0"});
  const auto there = json_of(bench_there), here = json_of(bench);
  ASSERT_EQ(there.size(), here.size());
  for (std::size_t i = 0; i < there.size(); ++i) {
    EXPECT_EQ(there[i].at("device"), "cuda:0");
    EXPECT_EQ(there[i].at("key_frame"), here[i].at("key_frame"));
    EXPECT_EQ(there[i].at("snr_db"), here[i].at("snr_db"));
    EXPECT_NEAR(there[i].at("frame_bytes").get<double>() / here[i].at("frame_bytes").get<double>(), 1, 0.05);
  }
}

TEST_F(CodecDeviceProgram, CodesByCalibrations) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device here: nothing of --device was tested";
  codec::testing::SyntheticStream stream(
      {.rows = 200, .channels = 48, .components = 6, .latents = 5, .deaf = 4, .grid = {10, 20}, .seed = 3});
  TensorList job;
  std::vector<float> sigmas;
  for (std::size_t i = 0; i < codec::testing::kSyntheticSteps; ++i) {
    const auto step = stream.next(DType::kBF16);
    job.push_back({"cut3.image.t" + std::to_string(i), step.tensor});
    job.push_back({"latents.t" + std::to_string(i), Tensor::from_floats(step.latents, {200, 5})});
    sigmas.push_back(step.sigma);
  }
  job.push_back({"sigmas", Tensor::from_floats(sigmas, {static_cast<std::int64_t>(sigmas.size())})});
  const std::string in = write("job.safetensors", job, {{"grid_lines", "10"}, {"grid_columns", "20"}});
  const Bytes asset = codec::write_calibration(stream.calibration());
  codec::Container container;
  container.calibrations.push_back(asset);
  ASSERT_TRUE(write_file(file("cut3.pnf"), codec::write_container(container)).ok());

  const std::vector<std::string> known{"--calibration", file("cut3.pnf"), "--context", in};
  std::vector<std::string> encode{"encode", in, file("job.pnf"), "--sequence", "--mode", "calibrated:30"};
  encode.insert(encode.end(), known.begin(), known.end());
  expect_done(encode);
  const auto calibration = codec::testing::through_bytes(stream.calibration());
  EXPECT_THAT(layouts("job.pnf", *calibration), Contains(codec::RowLayout::kCoefficients));
  encode.insert(encode.end(), {"--device", "cuda:0"});
  expect_done(encode);
  EXPECT_THAT(layouts("job.pnf", *calibration), Contains(codec::RowLayout::kCoefficients));
  std::vector<std::string> on_device = known;
  on_device.insert(on_device.end(), {"--device", "cuda:0"});
  const TensorList here = decoded("job.pnf", known), there = decoded("job.pnf", on_device);
  ASSERT_EQ(here.size(), codec::testing::kSyntheticSteps);
  ASSERT_EQ(there.size(), here.size());
  for (std::size_t i = 0; i < here.size(); ++i) {
    EXPECT_GT(codec::testing::measure_again(here[i].tensor, there[i].tensor).snr_db, 45) << here[i].name;
  }
  for (const auto& row : json_of({"bench", in, "--sequence", "--calibration", file("cut3.pnf"), "--mode",
                                  "calibrated:30", "--device", "cuda:0"})) {
    EXPECT_NEAR(row.at("output_snr_db"), 30, 0.6);
  }
}

}  // namespace
}  // namespace pinion::test
