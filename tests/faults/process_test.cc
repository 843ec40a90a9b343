// Real worker and client processes that are killed, stopped, restarted and starved. Every failure must be one
// clear line within five seconds, and whoever is left must go on serving.

#include <gmock/gmock.h>

#include <cstdlib>

#include "pinion/base/stopwatch.h"
#include "pinion/client/pairing.h"
#include "pinion/transport/peer_store.h"
#include "tests/faults/toy_job.h"
#include "tests/faults/worker_in_process.h"
#include "tests/support/child_process.h"

namespace pinion::test {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr double kClearErrorMs = 5000;

// A toy worker process. Its identity stays when it is started again.
class ToyWorker {
 public:
  ToyWorker(const std::string& name, const std::filesystem::path& models, int max_jobs = 8)
      : config_(fresh_folder(name)), models_(models), max_jobs_(max_jobs) {
    start("0");
  }

  void start(const std::string& port) {
    process_.emplace(std::vector<std::string>{TOY_WORKER, config_, models_, port, std::to_string(max_jobs_)},
                     std::map<std::string, std::string>{});
    const std::optional<std::string> line = process_->wait_for_line("pinion://", 10s);
    ASSERT_TRUE(line) << process_->err();
    line_ = *line;
    address_ = to_string(transport::parse_pairing_line(line_)->address);
  }

  void start_again() { start(std::to_string(transport::parse_address(address_)->port)); }

  void pair() const {
    const auto paired = client::pair_with(line_, std::getenv("PINION_CONFIG_DIR"));
    ASSERT_TRUE(paired.ok()) << paired.error().message();
  }

  ChildProcess& process() { return *process_; }
  const std::string& address() const { return address_; }

 private:
  std::string config_;
  std::string models_;
  int max_jobs_;
  std::optional<ChildProcess> process_;
  std::string line_;
  std::string address_;
};

class Processes : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("PINION_CONFIG_DIR", fresh_folder("client").c_str(), 1);
    ::setenv("PINION_CACHE_DIR", fresh_folder("client_cache").c_str(), 1);
    models_ = fresh_folder("models");
    write_toy_model(models_ / "quick.toy", 6, 0, "quick");
    write_toy_model(models_ / "slow.toy", 6, 100, "slow");
  }

  ToyJobOptions job(const std::string& model, std::vector<std::pair<std::string, int>> stages) const {
    ToyJobOptions options;
    options.model = models_ / model;
    options.cut = 1;
    options.stages = std::move(stages);
    return options;
  }

  // Runs it, and expects an error of `code` soon after the moment that `since` measures from.
  Error expect_error(const ToyJobOptions& options, Errc code, Stopwatch* since = nullptr) {
    Stopwatch whole;
    const Result<ToyJobOutcome> outcome = run_toy_job(options);
    EXPECT_LT((since != nullptr ? since : &whole)->elapsed_ms(), kClearErrorMs);
    if (outcome.ok()) {
      ADD_FAILURE() << "no error";
      return {};
    }
    const Error error = outcome.error();
    EXPECT_EQ(error.code, code) << error.message();
    EXPECT_EQ(error.message().find('\n'), std::string::npos);
    return error;
  }

  void expect_serves(const ToyWorker& worker) {
    const Result<ToyJobOutcome> outcome = run_toy_job(job("quick.toy", {{worker.address(), 6}}));
    EXPECT_TRUE(outcome.ok()) << outcome.error().message();
  }

  std::unique_ptr<ChildProcess> start_client(const std::string& model, int steps,
                                             const ToyWorker& worker) const {
    return std::make_unique<ChildProcess>(
        std::vector<std::string>{TOY_CLIENT, models_ / model, "1", std::to_string(steps), worker.address(),
                                 "6"},
        std::map<std::string, std::string>{{"PINION_CONFIG_DIR", std::getenv("PINION_CONFIG_DIR")}});
  }

  std::filesystem::path models_;
};

TEST_F(Processes, NothingListens) {
  std::string address;
  {
    ToyWorker worker("worker", models_);
    address = worker.address();
    worker.pair();
  }
  const Error error = expect_error(job("quick.toy", {{address, 6}}), Errc::kUnreachable);
  EXPECT_THAT(error.text, testing::AllOf(HasSubstr(address), HasSubstr("refused")));
  EXPECT_THAT(error.hint, HasSubstr("pinion worker"));
}

TEST_F(Processes, NoSuchMachine) {
  const Error error = expect_error(job("quick.toy", {{"no-such-machine.invalid", 6}}), Errc::kUnreachable);
  EXPECT_THAT(error.text, HasSubstr("no-such-machine.invalid"));
}

TEST_F(Processes, AWorkerThatStandsStill) {
  ToyWorker worker("worker", models_);
  worker.pair();
  worker.process().signal(SIGSTOP);
  const Error error = expect_error(job("quick.toy", {{worker.address(), 6}}), Errc::kUnreachable);
  EXPECT_THAT(error.text, HasSubstr("no answer from " + worker.address()));
  worker.process().signal(SIGCONT);
  expect_serves(worker);
}

TEST_F(Processes, NotPaired) {
  ToyWorker worker("worker", models_);
  const Error error = expect_error(job("quick.toy", {{worker.address(), 6}}), Errc::kNotPaired);
  EXPECT_THAT(error.text, HasSubstr(worker.address()));
  EXPECT_THAT(error.hint, HasSubstr("pinion pair"));
  worker.pair();
  expect_serves(worker);
  // The worker's side may end it as well.
  ASSERT_TRUE(std::filesystem::remove(std::filesystem::path(fresh_folder("x")).parent_path() / "worker" /
                                      "paired_clients.json"));
  const Error ended = expect_error(job("quick.toy", {{worker.address(), 6}}), Errc::kNotPaired);
  EXPECT_THAT(ended.text, HasSubstr("does not know this machine"));
}

TEST_F(Processes, AnotherCertificate) {
  ToyWorker worker("worker", models_);
  worker.pair();
  ToyWorker impostor("impostor", models_);
  transport::PeerStore peers(std::getenv("PINION_CONFIG_DIR"));
  const transport::Fingerprint expected = peers.workers()->front().fingerprint;
  ASSERT_TRUE(peers.add_worker(transport::parse_address(impostor.address()).value(), expected).ok());
  const Error error = expect_error(job("quick.toy", {{impostor.address(), 6}}), Errc::kCertificate);
  EXPECT_THAT(error.text, testing::AllOf(HasSubstr(impostor.address()),
                                         HasSubstr(transport::short_fingerprint(expected))));
  expect_serves(worker);
}

TEST_F(Processes, DifferentWeights) {
  ToyWorker worker("worker", models_);
  worker.pair();
  const std::filesystem::path mine = fresh_folder("mine") / "mine.toy";
  write_toy_model(mine, 6, 0, "other weights");
  ToyJobOptions options = job("quick.toy", {{worker.address(), 6}});
  options.model = mine;
  const Error error = expect_error(options, Errc::kModelMismatch);
  EXPECT_THAT(error.text,
              testing::AllOf(HasSubstr("mine.toy"), HasSubstr("quick.toy"), HasSubstr("slow.toy")));
  EXPECT_THAT(error.hint, HasSubstr("--models"));
  expect_serves(worker);
  // A file that comes later is found without a restart.
  std::filesystem::copy_file(mine, models_ / "later.toy");
  EXPECT_TRUE(run_toy_job(options).ok());
}

TEST_F(Processes, BlocksThatAreNotThere) {
  ToyWorker worker("worker", models_);
  worker.pair();
  const Error error = expect_error(job("quick.toy", {{worker.address(), 9}}), Errc::kInvalidArgument);
  EXPECT_THAT(error.text, HasSubstr("6"));
  expect_serves(worker);
}

TEST_F(Processes, WorkerKilledBeforeAStep) {
  ToyWorker worker("worker", models_);
  worker.pair();
  Stopwatch since;
  ToyJobOptions options = job("quick.toy", {{worker.address(), 6}});
  options.before_step = [&](int step) {
    if (step != 2) return;
    worker.process().signal(SIGKILL);
    worker.process().wait(5s);
    since.lap_ms();
  };
  const Error error = expect_error(options, Errc::kUnreachable, &since);
  EXPECT_THAT(error.text,
              testing::AllOf(HasSubstr("step 2"), HasSubstr(worker.address()), HasSubstr("lost")));
}

TEST_F(Processes, WorkerKilledDuringAStep) {
  ToyWorker worker("worker", models_);
  worker.pair();
  Stopwatch since;
  std::thread killer;
  ToyJobOptions options = job("slow.toy", {{worker.address(), 6}});
  options.before_step = [&](int step) {
    if (step != 1) return;
    killer = std::thread([&] {
      std::this_thread::sleep_for(200ms);  // a step takes 500
      worker.process().signal(SIGKILL);
      since.lap_ms();
    });
  };
  const Error error = expect_error(options, Errc::kUnreachable, &since);
  killer.join();
  EXPECT_THAT(error.text, testing::AllOf(HasSubstr("step 1"), HasSubstr(worker.address())));
}

TEST_F(Processes, AJobGoesOnWhenItsWorkerComesBack) {
  ToyWorker worker("worker", models_);
  worker.pair();
  ToyJobOptions options = job("quick.toy", {{worker.address(), 6}});
  options.before_step = [&](int step) {
    if (step != 2) return;
    worker.process().signal(SIGKILL);
    worker.process().wait(5s);
    worker.start_again();
  };
  const Result<ToyJobOutcome> outcome = run_toy_job(options);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message();
  options.stages.clear();
  options.before_step = nullptr;
  EXPECT_TRUE(same_bytes(outcome->latents, run_toy_job(options)->latents));
}

TEST_F(Processes, TheEndOfAChainIsKilled) {
  ToyWorker first("first", models_);
  ToyWorker last("last", models_);
  first.pair();
  last.pair();
  Stopwatch since;
  ToyJobOptions options = job("slow.toy", {{first.address(), 3}, {last.address(), 6}});
  options.before_step = [&](int step) {
    if (step != 1) return;
    last.process().signal(SIGKILL);
    since.lap_ms();
  };
  const Error error = expect_error(options, Errc::kUnreachable, &since);
  EXPECT_THAT(error.text, HasSubstr(last.address()));
  expect_serves(first);
}

TEST_F(Processes, AStageThatCannotReachTheNextSaysSo) {
  // Both know the client, but the second one is known to it by a name that the first cannot use.
  ToyWorker first("first", models_);
  ToyWorker last("last", models_);
  first.pair();
  last.pair();
  first.process().signal(SIGKILL);
  first.process().wait(5s);  // until the system has closed its port
  const Error error =
      expect_error(job("quick.toy", {{last.address(), 3}, {first.address(), 6}}), Errc::kUnreachable);
  EXPECT_THAT(error.text, HasSubstr(first.address()));
  expect_serves(last);
}

TEST_F(Processes, AKilledClientLeavesNothingBehind) {
  ToyWorker worker("worker", models_, 1);
  worker.pair();
  auto client = start_client("slow.toy", 20, worker);
  ASSERT_TRUE(client->wait_for_line("step 1", 10s)) << client->err();
  client->signal(SIGKILL);
  client->wait(5s);
  // One job at a time: the next one only fits when the dead client's is gone.
  const Stopwatch watch;
  Result<ToyJobOutcome> outcome = run_toy_job(job("quick.toy", {{worker.address(), 6}}));
  while (!outcome.ok() && watch.elapsed_ms() < kClearErrorMs) {
    EXPECT_EQ(outcome.error().code, Errc::kBusy) << outcome.error().message();
    std::this_thread::sleep_for(50ms);
    outcome = run_toy_job(job("quick.toy", {{worker.address(), 6}}));
  }
  EXPECT_TRUE(outcome.ok());
}

TEST_F(Processes, OneClientsFailureIsNotAnothers) {
  ToyWorker worker("worker", models_);
  worker.pair();
  auto other = start_client("slow.toy", 3, worker);
  ASSERT_TRUE(other->wait_for_line("step 0", 10s)) << other->err();
  ToyJobOptions options = job("quick.toy", {{worker.address(), 6}});
  options.cut = 0;
  options.text_tokens = kToyOutOfMemoryTokens;
  const Error error = expect_error(options, Errc::kOutOfMemory);
  EXPECT_THAT(error.text, testing::AllOf(HasSubstr(worker.address()), HasSubstr("memory")));
  const std::optional<ProcessResult> done = other->wait(20s);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->exit_code, 0) << done->err;
}

TEST_F(Processes, CancelFreesTheWorkerWithinOneStep) {
  ToyWorker worker("worker", models_, 1);
  worker.pair();
  ToyJobOptions options = job("slow.toy", {{worker.address(), 6}});
  Result<std::unique_ptr<client::RemoteJob>> remote =
      client::RemoteJob::open(toy_plan(options).value(), options.connect);
  ASSERT_TRUE(remote.ok()) << remote.error().message();
  ASSERT_TRUE((*remote)->begin(toy_constants(options)).ok());
  std::thread canceller([&] {
    std::this_thread::sleep_for(100ms);
    (*remote)->cancel();
  });
  client::StepRequest request;
  request.sigma = {1};
  request.latents =
      Tensor::from_floats(std::vector<float>(64 * kToyLatentChannels), {1, 64, kToyLatentChannels});
  request.state = {
      {"image",
       Tensor::from_floats(std::vector<float>(64 * kToyHiddenChannels), {1, 64, kToyHiddenChannels})},
      {"text", Tensor::from_floats(std::vector<float>(5 * kToyHiddenChannels), {1, 5, kToyHiddenChannels})}};
  const Stopwatch watch;
  const Result<client::RemoteStep> step = (*remote)->step(request);
  ASSERT_FALSE(step.ok());
  EXPECT_EQ(step.error().code, Errc::kCancelled);
  EXPECT_LT(watch.elapsed_ms(), 400);  // the step would have taken 500
  canceller.join();
  std::this_thread::sleep_for(50ms);
  expect_serves(worker);
}

TEST_F(Processes, AWorkerThatIsStoppedSaysGoodbye) {
  ToyWorker worker("worker", models_);
  worker.pair();
  auto client = start_client("slow.toy", 20, worker);
  ASSERT_TRUE(client->wait_for_line("step 1", 10s)) << client->err();
  worker.process().signal(SIGTERM);
  const std::optional<ProcessResult> client_end = client->wait(5s);
  ASSERT_TRUE(client_end);
  EXPECT_EQ(client_end->exit_code, 1);
  EXPECT_THAT(client_end->err, HasSubstr("the worker was stopped"));
  const std::optional<ProcessResult> worker_end = worker.process().wait(5s);
  ASSERT_TRUE(worker_end);
  EXPECT_EQ(worker_end->exit_code, 0) << worker_end->err;
}

}  // namespace
}  // namespace pinion::test
