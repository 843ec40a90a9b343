// Client and worker in one process, over real sockets, with a toy model: what goes where, and that nothing is
// lost on the way.

#include <gmock/gmock.h>

#include <cstdlib>

#include "pinion/client/pairing.h"
#include "tests/faults/toy_job.h"
#include "tests/faults/worker_in_process.h"

namespace pinion::test {
namespace {

class Network : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("PINION_CONFIG_DIR", fresh_folder("client").c_str(), 1);
    ::setenv("PINION_CACHE_DIR", fresh_folder("client_cache").c_str(), 1);
    models_ = fresh_folder("models");
    write_toy_model(model(), 6, 0, "a");
  }

  std::filesystem::path model() const { return models_ / "six.toy"; }
  std::filesystem::path client_folder() const { return std::getenv("PINION_CONFIG_DIR"); }

  std::unique_ptr<WorkerInProcess> start(const std::string& name,
                                         const std::function<void(worker::WorkerOptions&)>& adjust = {}) {
    auto worker = std::make_unique<WorkerInProcess>(models_, fresh_folder(name), adjust);
    const Result<transport::Address> paired = client::pair_with(worker->pairing_line(), client_folder());
    EXPECT_TRUE(paired.ok()) << paired.error().message();
    return worker;
  }

  void expect_same_as_local(ToyJobOptions options) {
    const Result<ToyJobOutcome> remote = run_toy_job(options);
    ASSERT_TRUE(remote.ok()) << remote.error().message();
    options.stages.clear();
    const Result<ToyJobOutcome> local = run_toy_job(options);
    ASSERT_TRUE(local.ok()) << local.error().message();
    EXPECT_TRUE(same_bytes(remote->latents, local->latents));
  }

  std::filesystem::path models_;
};

TEST_F(Network, OneWorkerAtEveryCutGivesTheResultOfOneMachine) {
  const auto worker = start("worker");
  for (const std::string codec : {"raw", "lossless"}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (int cut = 0; cut < 6; ++cut) {
        SCOPED_TRACE(codec + " " + std::string(name(dtype)) + " cut " + std::to_string(cut));
        expect_same_as_local({.model = model(),
                              .cut = cut,
                              .stages = {{worker->address(), 6}},
                              .dtype = dtype,
                              .codec = codec,
                              .batch = 2});
      }
    }
  }
}

TEST_F(Network, ChainsGiveTheResultOfOneMachine) {
  const auto a = start("a");
  const auto b = start("b");
  const auto c = start("c");
  for (const int cut : {0, 1}) {
    expect_same_as_local({.model = model(),
                          .cut = cut,
                          .stages = {{a->address(), 3}, {b->address(), 6}},
                          .dtype = DType::kBF16,
                          .codec = "lossless"});
    expect_same_as_local({.model = model(),
                          .cut = cut,
                          .stages = {{a->address(), 2}, {b->address(), 5}, {c->address(), 6}},
                          .dtype = DType::kBF16,
                          .codec = "raw"});
  }
  // The same worker twice, at both ends of the chain.
  expect_same_as_local(
      {.model = model(), .cut = 1, .stages = {{a->address(), 2}, {b->address(), 4}, {a->address(), 6}}});
}

TEST_F(Network, LatentsCostAFewBytesAfterTheFirstStep) {
  const auto worker = start("worker");
  const Result<ToyJobOutcome> outcome =
      run_toy_job({.model = model(), .cut = 0, .stages = {{worker->address(), 6}}, .dtype = DType::kBF16});
  ASSERT_TRUE(outcome.ok()) << outcome.error().message();
  for (std::size_t step = 0; step < outcome->steps.size(); ++step) {
    const client::HopStats& up = outcome->steps[step].hops.front();
    ASSERT_EQ(up.streams.size(), 1u);
    EXPECT_EQ(up.streams[0].name, "latents");
    if (step == 0) {
      EXPECT_GT(up.streams[0].frame.frame_bytes, 1000u);
    } else {
      EXPECT_LE(up.streams[0].frame.frame_bytes, 4u);
      EXPECT_LT(up.message_bytes, 1000u);
    }
  }
}

TEST_F(Network, TheFirstNoiseIsDrawnAgainWhereItComesOutTheSame) {
  const auto a = start("a");
  const auto b = start("b");
  const auto first_bytes = [&](const std::string& generator) -> std::size_t {
    const ToyJobOptions options{
        .model = model(), .cut = 2, .stages = {{a->address(), 4}, {b->address(), 6}}, .generator = generator};
    expect_same_as_local(options);
    const Result<ToyJobOutcome> outcome = run_toy_job(options);
    EXPECT_TRUE(outcome.ok());
    return outcome.ok() ? outcome->steps[0].hops[0].streams[0].frame.frame_bytes : 0;
  };
  EXPECT_EQ(first_bytes(kToyGenerator), 0u);
  EXPECT_GT(first_bytes("toy:00000002"), 1000u)
      << "these workers draw otherwise, so the noise itself must travel";
  EXPECT_GT(first_bytes(""), 1000u);
}

TEST_F(Network, ALostJobStartsAgainWithoutRecipes) {
  const auto worker =
      start("worker", [](auto& options) { options.idle_job_limit = std::chrono::milliseconds(100); });
  ToyJobOptions options{.model = model(), .stages = {{worker->address(), 6}}, .generator = kToyGenerator};
  options.before_step = [](int step) {
    if (step == 0) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  };
  expect_same_as_local(options);
  const Result<ToyJobOutcome> outcome = run_toy_job(options);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message();
  EXPECT_GT(outcome->steps[0].hops[0].streams[0].frame.frame_bytes, 1000u);
}

TEST_F(Network, ACodedVelocityIsTheSameAtEveryStage) {
  const auto a = start("a");
  const auto b = start("b");
  const auto c = start("c");
  const auto run = [&](const std::string& codec, float jitter) {
    const Result<ToyJobOutcome> outcome =
        run_toy_job({.model = model(),
                     .cut = 1,
                     .stages = {{a->address(), 2}, {b->address(), 4}, {c->address(), 6}},
                     .codec = codec,
                     .grid = 16,
                     .jitter = jitter});
    EXPECT_TRUE(outcome.ok()) << outcome.error().message();
    return outcome.ok() ? *outcome : ToyJobOutcome();
  };
  const auto velocity_of = [](const client::RemoteStep& step) {
    return step.hops.back().streams.at(0).frame;
  };
  const ToyJobOutcome exact = run("lossless", 0);
  const ToyJobOutcome coded = run("fidelity:20", 0);
  ASSERT_EQ(coded.steps.size(), 4u);
  for (std::size_t step = 0; step < coded.steps.size(); ++step) {
    EXPECT_LT(2 * velocity_of(coded.steps[step]).frame_bytes, velocity_of(exact.steps[step]).frame_bytes);
    EXPECT_NEAR(velocity_of(coded.steps[step]).snr_db, 32, 0.3);
    // The sampler went on with the decoded velocity, and so did every stage: nothing is left to send.
    const std::size_t sent = coded.steps[step].hops.front().streams.at(0).frame.frame_bytes;
    if (step > 0) {
      const codec::FrameStats before = velocity_of(coded.steps[step - 1]);
      EXPECT_LE(sent, 8 + before.frame_bytes + before.basis_bytes);
    }
  }
  // Latents that do not follow from the velocity travel whole, and the velocities' frames still fit each
  // other.
  EXPECT_EQ(run("fidelity:20", 0.5f).steps.size(), 4u);
}

TEST_F(Network, OnlyTheFirstJobPaysForItsBases) {
  const auto a = start("a");
  const auto b = start("b");
  // Sixteen hidden channels that are two copies of eight latent ones: a rotation pays.
  const ToyJobOptions options{.model = model(),
                              .cut = 2,
                              .stages = {{a->address(), 4}, {b->address(), 6}},
                              .codec = "fidelity:30",
                              .grid = 32};
  const auto bytes_of_bases = [&](const Result<ToyJobOutcome>& outcome, std::size_t hop) {
    std::size_t bytes = 0;
    for (const client::RemoteStep& step : outcome->steps) {
      for (const client::StreamStats& stream : step.hops[hop].streams) bytes += stream.frame.basis_bytes;
    }
    return bytes;
  };
  const Result<ToyJobOutcome> first = run_toy_job(options);
  ASSERT_TRUE(first.ok()) << first.error().message();
  const Result<ToyJobOutcome> second = run_toy_job(options);
  ASSERT_TRUE(second.ok()) << second.error().message();
  for (const std::size_t hop : {0u, 1u}) {
    EXPECT_GT(bytes_of_bases(first, hop), 0u) << "hop " << hop;
    EXPECT_EQ(bytes_of_bases(second, hop), 0u) << "hop " << hop;
  }
  // A worker that was not there before is sent them.
  const auto c = start("c");
  ToyJobOptions elsewhere = options;
  elsewhere.stages = {{c->address(), 4}, {b->address(), 6}};
  const Result<ToyJobOutcome> third = run_toy_job(elsewhere);
  ASSERT_TRUE(third.ok()) << third.error().message();
  EXPECT_GT(bytes_of_bases(third, 0), 0u);
}

TEST_F(Network, ReportsWhatEveryHopCost) {
  write_toy_model(models_ / "slow.toy", 6, 5, "slow");
  const auto a = start("a");
  const auto b = start("b");
  const Result<ToyJobOutcome> outcome = run_toy_job(
      {.model = models_ / "slow.toy", .cut = 2, .stages = {{a->address(), 4}, {b->address(), 6}}});
  ASSERT_TRUE(outcome.ok()) << outcome.error().message();
  for (const client::RemoteStep& step : outcome->steps) {
    ASSERT_EQ(step.hops.size(), 3u);
    EXPECT_EQ(step.hops[0].from, "client");
    EXPECT_EQ(step.hops[0].to, a->address());
    EXPECT_EQ(step.hops[1].from, a->address());
    EXPECT_EQ(step.hops[1].to, b->address());
    EXPECT_EQ(step.hops[2].to, "client");
    double known_ms = 0;
    for (std::size_t hop = 0; hop < 3; ++hop) {
      const client::HopStats& stats = step.hops[hop];
      if (hop < 2) {
        EXPECT_GE(stats.compute_ms, 10);
      }
      EXPECT_GT(stats.message_bytes, 8u * 8 * kToyLatentChannels * 4);
      std::size_t frames = 0;
      for (const client::StreamStats& stream : stats.streams) frames += stream.frame.frame_bytes;
      EXPECT_GT(frames, 0u);
      EXPECT_LT(frames, stats.message_bytes);
      known_ms += stats.encode_ms + stats.decode_ms + stats.compute_ms + stats.queue_ms + stats.wire_ms;
    }
    // The rest is time in which a busy machine ran something else; a tenth more is the clocks' comparison.
    EXPECT_GE(known_ms, 20);
    EXPECT_LE(known_ms, 1.1 * step.round_trip_ms + 1);
  }
}

TEST_F(Network, ClientsShareTheWeightsAndTakeTurns) {
  const auto worker = start("worker");
  std::vector<std::thread> threads;
  std::atomic<int> same = 0;
  const Result<ToyJobOutcome> local = run_toy_job({.model = model(), .steps = 8});
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const Result<ToyJobOutcome> outcome =
          run_toy_job({.model = model(), .cut = 1, .stages = {{worker->address(), 6}}, .steps = 8});
      same += outcome.ok() && same_bytes(outcome->latents, local->latents) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, 4);
}

TEST_F(Network, AnIdleJobIsDroppedAndCanGoOn) {
  const auto worker =
      start("worker", [](auto& options) { options.idle_job_limit = std::chrono::milliseconds(100); });
  ToyJobOptions options{.model = model(), .cut = 1, .stages = {{worker->address(), 6}}};
  options.before_step = [](int step) {
    if (step == 2) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  };
  expect_same_as_local(options);
}

TEST_F(Network, WeightsStayWithinTheMemoryGiven) {
  // A toy block is a megabyte.
  const auto worker = start("worker", [](auto& options) { options.stages.max_weight_bytes = 3'500'000; });
  const auto code_of = [&](int cut) {
    const Result<ToyJobOutcome> outcome =
        run_toy_job({.model = model(), .cut = cut, .stages = {{worker->address(), 6}}});
    return outcome.ok() ? "ok" : std::string(name(outcome.error().code));
  };
  EXPECT_EQ(code_of(1), "out_of_memory");
  EXPECT_EQ(code_of(3), "ok");
  EXPECT_EQ(code_of(4), "ok");  // the idle stage before makes room
  // A stage in use does not.
  const Result<client::RemotePlan> plan =
      toy_plan({.model = model(), .cut = 3, .stages = {{worker->address(), 6}}});
  const auto holder = client::RemoteJob::open(*plan, {});
  ASSERT_TRUE(holder.ok()) << holder.error().message();
  EXPECT_EQ(code_of(4), "out_of_memory");
}

TEST_F(Network, PlainLoopbackWorksWhenBothSidesAllowIt) {
  const auto open_worker = start("open", [](auto& options) { options.listen.allow_plain_loopback = true; });
  const auto closed_worker = start("closed");
  ToyJobOptions options{.model = model(), .cut = 1, .stages = {{open_worker->address(), 6}}};
  options.connect.insecure_loopback = true;
  expect_same_as_local(options);
  options.stages = {{closed_worker->address(), 6}};
  const Result<ToyJobOutcome> refused = run_toy_job(options);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().text, testing::HasSubstr(closed_worker->address()));
}

}  // namespace
}  // namespace pinion::test
