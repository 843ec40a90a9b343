// `--codec auto` over real sockets: links whose speed is known, and what is chosen for them.

#include <gmock/gmock.h>

#include <cstdlib>
#include <optional>

#include "pinion/client/pairing.h"
#include "tests/faults/slow_link.h"
#include "tests/faults/toy_job.h"
#include "tests/faults/worker_in_process.h"

namespace pinion::test {
namespace {

using testing::HasSubstr;

// So slow that sending takes longer than coding even where a sanitizer watches it.
constexpr double kSlowBack = 30e3;

class ChosenCodec : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("PINION_CONFIG_DIR", fresh_folder("auto_client").c_str(), 1);
    ::setenv("PINION_CACHE_DIR", fresh_folder("auto_client_cache").c_str(), 1);
    const std::filesystem::path models = fresh_folder("auto_models");
    write_toy_model(models / "six.toy", 6, 0, "a");
    worker_ = std::make_unique<WorkerInProcess>(models, fresh_folder("auto_worker"));
    const auto paired = client::pair_with(worker_->pairing_line(), std::getenv("PINION_CONFIG_DIR"));
    ASSERT_TRUE(paired.ok()) << paired.error().message();
    job_ = {.model = models / "six.toy", .cut = 3, .stages = {{worker_->address(), 6}}, .grid = 32};
  }

  // The state at the cut is 32 x 32 rows of 16 float32, and a few of text: 65 kB.
  codec::CodecChoice run(bool exact_only = false) { return run({.exact_only = exact_only, .choice = {}}); }
  codec::CodecChoice run(const client::AutoCodec& request) {
    job_.auto_codec = std::make_shared<client::AutoCodec>(request);
    const Result<ToyJobOutcome> outcome = run_toy_job(job_);
    EXPECT_TRUE(outcome.ok()) << outcome.error().message();
    EXPECT_TRUE(job_.auto_codec->choice);
    if (!outcome.ok() || !job_.auto_codec->choice) return {};
    latents_ = outcome->latents;
    up_bytes_ = outcome->steps.back().hops.front().message_bytes;
    down_bytes_ = outcome->steps.back().hops.back().message_bytes;
    return *job_.auto_codec->choice;
  }

  bool is_exact_result() {
    ToyJobOptions local = job_;
    local.stages.clear();
    return same_bytes(run_toy_job(local)->latents, latents_);
  }

  std::unique_ptr<WorkerInProcess> worker_;
  ToyJobOptions job_;
  Tensor latents_;
  std::size_t up_bytes_ = 0, down_bytes_ = 0;  // of the last step
};

TEST_F(ChosenCodec, IsNeverExpectedToBeSlowerThanRaw) {
  const codec::CodecChoice choice = run();
  ASSERT_TRUE(choice.link);
  EXPECT_GT(choice.link->bytes_per_s, 1e6);
  ASSERT_EQ(choice.trials.size(), 4u);  // without a calibration
  EXPECT_EQ(choice.trials[0].profile.mode, codec::Mode::kRaw);
  EXPECT_GE(choice.trials[0].bytes, 65536u);
  EXPECT_LT(choice.trials[2].bytes, choice.trials[0].bytes / 3);  // int8 of float32
  EXPECT_LE(expected_ms(choice.trials[choice.chosen], *choice.link),
            expected_ms(choice.trials[0], *choice.link));
}

TEST_F(ChosenCodec, ASlowLinkIsMeasuredAndGetsFewerBytes) {
  const SlowLink slow(worker_->address(), {.there = 500e3});
  job_.stages = {{slow.address(), 6}};
  const codec::CodecChoice choice = run();
  ASSERT_TRUE(choice.link);
  EXPECT_GT(choice.link->bytes_per_s, 100e3);  // a busy machine is slower
  EXPECT_LT(choice.link->bytes_per_s, 600e3);
  EXPECT_NE(choice.profile().mode, codec::Mode::kRaw);
  EXPECT_NE(choice.profile().mode, codec::Mode::kLossless);
  // What was chosen is what travels.
  EXPECT_LT(up_bytes_, choice.trials[choice.chosen].bytes + 2000);
  EXPECT_FALSE(is_exact_result());
}

// The velocity is 32 x 32 rows of 8 float32: 33 kB.
TEST_F(ChosenCodec, TheWayBackIsMeasuredAndChosenByItself) {
  const SlowLink slow(worker_->address(), {.back = kSlowBack});
  job_.stages = {{slow.address(), 6}};
  const codec::CodecChoice choice = run();
  ASSERT_TRUE(choice.way_back && choice.way_back->link);
  EXPECT_GT(choice.way_back->link->bytes_per_s, kSlowBack / 5);  // a busy machine is slower
  EXPECT_LT(choice.way_back->link->bytes_per_s, 1.2 * kSlowBack);
  EXPECT_GT(choice.link->bytes_per_s, 1e6);
  ASSERT_EQ(choice.way_back->trials.size(), 3u);
  EXPECT_EQ(choice.way_back->trials[0].profile.mode, codec::Mode::kRaw);
  EXPECT_EQ(choice.way_back->profile().mode, codec::Mode::kFidelity);
  EXPECT_EQ(choice.way_back->profile().target_snr_db, 36);
  // Frames that follow from others are smaller than the one that was tried.
  EXPECT_LT(down_bytes_, choice.way_back->trials[2].bytes + 2000);
  EXPECT_LT(down_bytes_, 33'000 / 3);
}

TEST_F(ChosenCodec, TheWayBackOfAChainIsThatOfItsLastWorker) {
  const SlowLink slow(worker_->address(), {.back = kSlowBack});
  job_.stages = {{worker_->address(), 4}, {slow.address(), 6}};
  const codec::CodecChoice choice = run();
  ASSERT_TRUE(choice.way_back && choice.way_back->link);
  EXPECT_LT(choice.way_back->link->bytes_per_s, 1.2 * kSlowBack);
  EXPECT_EQ(choice.way_back->profile().mode, codec::Mode::kFidelity);
  EXPECT_LT(down_bytes_, 33'000 / 3);
}

TEST_F(ChosenCodec, ATargetBoundsWhatMayBeLost) {
  const SlowLink slow(worker_->address(), {.there = 50e3, .back = kSlowBack});
  job_.stages = {{slow.address(), 6}};
  const codec::CodecChoice choice = run({.target_db = 44, .choice = {}});
  ASSERT_EQ(choice.trials.size(), 3u);  // int8 is worse than that
  EXPECT_EQ(choice.trials[2].profile.mode, codec::Mode::kFidelity);
  EXPECT_EQ(choice.trials[2].profile.target_snr_db, 38);
  EXPECT_EQ(choice.profile().mode, codec::Mode::kFidelity);
  EXPECT_EQ(choice.way_back->profile().target_snr_db, 50);
}

TEST_F(ChosenCodec, AVelocityReturnsAsItIsAskedFor) {
  const auto sent = [&](const std::string& velocity_codec) {
    job_.velocity_codec = velocity_codec;
    const Result<ToyJobOutcome> outcome = run_toy_job(job_);
    EXPECT_TRUE(outcome.ok()) << outcome.error().message();
    latents_ = outcome->latents;
    return outcome->steps.back().hops.back().streams.back().frame;
  };
  EXPECT_GE(sent("raw").frame_bytes, 32u * 32 * 8 * 4);
  EXPECT_TRUE(is_exact_result());
  const codec::FrameStats coded = sent("fidelity:30");
  EXPECT_GE(coded.snr_db, 29.7);
  EXPECT_LT(coded.frame_bytes, 32u * 32 * 8);
  EXPECT_FALSE(is_exact_result());
}

TEST_F(ChosenCodec, ExactStaysExactOnASlowLink) {
  const SlowLink slow(worker_->address(), {.there = 500e3});
  job_.stages = {{slow.address(), 6}};
  const codec::CodecChoice choice = run(true);
  ASSERT_EQ(choice.trials.size(), 2u);
  ASSERT_EQ(choice.way_back->trials.size(), 2u);
  EXPECT_EQ(choice.trials[1].profile.mode, codec::Mode::kLossless);
  EXPECT_TRUE(is_exact_result());
}

TEST_F(ChosenCodec, JobsOfOnePlanShareTheChoice) {
  const codec::CodecChoice first = run();
  job_.auto_codec->choice->chosen = 1;  // whatever the first job chose
  const Result<ToyJobOutcome> second = run_toy_job(job_);
  ASSERT_TRUE(second.ok()) << second.error().message();
  EXPECT_EQ(job_.auto_codec->choice->profile().mode, codec::Mode::kLossless);
  EXPECT_EQ(job_.auto_codec->choice->choosing_ms, first.choosing_ms);
  latents_ = second->latents;
  EXPECT_TRUE(is_exact_result());
}

TEST_F(ChosenCodec, AConnectionThatIsLostBeforeTheChoiceIsMadeAgain) {
  std::optional<SlowLink> first(std::in_place, worker_->address(), SlowLink::Speeds{.there = 1e9});
  const std::string address = first->address();
  job_.stages = {{address, 6}};
  std::optional<SlowLink> second;
  job_.before_step = [&](int step) {
    if (step > 0) return;
    first.reset();
    second.emplace(worker_->address(), SlowLink::Speeds{.there = 1e9}, address);
  };
  EXPECT_TRUE(run(true).link);
  job_.before_step = {};
  EXPECT_TRUE(is_exact_result());
}

TEST_F(ChosenCodec, WithoutAStateThereIsNothingToTry) {
  job_.cut = 0;
  const codec::CodecChoice choice = run();
  EXPECT_FALSE(choice.link);
  EXPECT_EQ(choice.profile().mode, codec::Mode::kRaw);
  EXPECT_TRUE(is_exact_result());
}

TEST_F(ChosenCodec, AChainSaysWhatItTakesForGranted) {
  job_.stages = {{worker_->address(), 4}, {worker_->address(), 6}};
  EXPECT_THAT(run(true).note, HasSubstr("between workers"));
  EXPECT_TRUE(is_exact_result());
}

}  // namespace
}  // namespace pinion::test
