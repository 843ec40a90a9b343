// A split job equals the unsplit one bit for bit: every cut of the tiny model, raw and lossless, one worker
// and two in a chain. Workers are real processes; the client runs in this one, so that it loads the model
// once.

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "pinion/pipeline/generate.h"
#include "pinion/pipeline/report.h"
#include "tests/support/worker_process.h"

namespace pinion {
namespace {

const std::string kModel = std::string(PINION_SOURCE_DIR) + "/models/tiny-flux2";
constexpr int kBlocks = 6;

class SplitExactness : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string client_home = test::scratch_folder("exactness-client");
    for (const auto& [key, value] : test::settings_in(client_home)) ::setenv(key.c_str(), value.c_str(), 1);
    for (const char* name : {"exactness-a", "exactness-b"}) {
      workers().push_back(
          std::make_unique<test::WorkerProcess>(test::WorkerSettings{.home = test::scratch_folder(name),
                                                                     .models = kModel,
                                                                     .device = test::test_device(),
                                                                     .more_arguments = {}}));
      workers().back()->pair(client_home);
    }
    unsplit() = run({}, "all", "raw");
  }
  static void TearDownTestSuite() {
    workers().clear();
    unsplit() = {};
  }

  static std::vector<std::unique_ptr<test::WorkerProcess>>& workers() {
    static std::vector<std::unique_ptr<test::WorkerProcess>> instances;
    return instances;
  }
  static pipeline::GenerateResult& unsplit() {
    static pipeline::GenerateResult result;
    return result;
  }

  // Three steps are enough for the prediction of latents and states to matter.
  static pipeline::GenerateResult run(int worker_count, const std::string& cut, const std::string& codec) {
    pipeline::GenerateRequest request;
    request.model = kModel;
    request.prompt = "a red circle on the left and a blue square on the right, on a white background";
    request.width = 128;
    request.height = 96;
    request.steps = 3;
    request.seed = 11;
    request.device = *device_from_name(test::test_device());
    request.dtype = DType::kF32;
    request.split.cut = cut;
    request.split.codec = codec::parse_profile(codec).value();
    for (int i = 0; i < worker_count; ++i) {
      request.split.workers.push_back(
          client::parse_worker_address(workers()[static_cast<std::size_t>(i)]->address()).value());
    }
    pipeline::Cancellation cancellation;
    auto result = pipeline::generate(
        std::move(request), [](const pipeline::Progress&) {}, cancellation);
    if (!result.ok()) throw std::runtime_error(result.error().message());
    return std::move(result).value();
  }

  static void expect_identical(const pipeline::GenerateResult& split, const std::string& what) {
    const Tensor& a = split.latents;
    const Tensor& b = unsplit().latents;
    ASSERT_EQ(a.shape(), b.shape());
    EXPECT_EQ(std::memcmp(a.view().data, b.view().data, a.bytes()), 0) << what << ": latents differ";
    EXPECT_EQ(split.pictures.at(0).rgb, unsplit().pictures.at(0).rgb) << what << ": pictures differ";
  }
};

TEST_F(SplitExactness, EveryCutWithOneWorker) {
  for (const char* codec : {"raw", "lossless"}) {
    for (int cut = 0; cut < kBlocks; ++cut) {
      expect_identical(run(1, std::to_string(cut), codec),
                       std::string(codec) + ", cut " + std::to_string(cut));
    }
  }
}

TEST_F(SplitExactness, EveryPairOfCutsWithTwoWorkersInAChain) {
  for (int first = 0; first < kBlocks; ++first) {
    for (int second = first + 1; second < kBlocks; ++second) {
      const std::string cut = std::to_string(first) + "," + std::to_string(second);
      // Alternating keeps the test short; over all pairs both codecs meet every cut.
      const char* codec = (first + second) % 2 == 0 ? "raw" : "lossless";
      expect_identical(run(2, cut, codec), std::string(codec) + ", cuts " + cut);
    }
  }
}

TEST_F(SplitExactness, EachSideHoldsOnlyItsOwnBlocks) {
  const std::size_t whole = unsplit().local_weight_bytes;
  const pipeline::GenerateResult front = run(1, "4", "raw");
  EXPECT_LT(front.local_weight_bytes, whole);
  EXPECT_LT(front.workers.at(0).weight_bytes, whole);
  EXPECT_EQ(run(1, "0", "raw").local_weight_bytes, 0u);
  // The parts share the time embedding and the modulations; everything else is held once.
  const std::size_t both = front.local_weight_bytes + front.workers.at(0).weight_bytes;
  EXPECT_GE(both, whole);
  EXPECT_LT(both, whole + whole / 4);
}

TEST_F(SplitExactness, LatentsCostNextToNothing) {
  const pipeline::GenerateResult split = run(1, "0", "raw");
  ASSERT_FALSE(split.steps.empty());
  for (const pipeline::StepReport& step : split.steps) {
    EXPECT_LT(step.trace.hops.at(0).message_bytes, 1024u) << "step " << step.step;
  }
}

TEST_F(SplitExactness, FidelityKeepsItsPromiseAndSendsLess) {
  const pipeline::GenerateResult raw = run(1, "3", "raw");
  const pipeline::GenerateResult coded = run(1, "3", "fidelity:20");
  EXPECT_LT(pipeline::sum_up(coded).state_bytes * 6, pipeline::sum_up(raw).state_bytes);
  for (const pipeline::StepReport& step : coded.steps) {
    for (const client::StreamStats& stream : step.trace.hops.at(0).streams) {
      if (stream.name == "latents") continue;
      EXPECT_GE(stream.frame.snr_db, 19.7) << stream.name << " at step " << step.step;
    }
  }
  EXPECT_GT(pipeline::compare(coded.pictures.at(0), unsplit().pictures.at(0)).psnr_db, 20.0);
}

}  // namespace
}  // namespace pinion
