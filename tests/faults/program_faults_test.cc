// The program as a user meets it when something is wrong between client and worker: one line that says what,
// where and what to do, the right exit code, soon, and a worker that goes on serving.

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "pinion/base/stopwatch.h"
#include "tests/support/worker_process.h"

namespace pinion {
namespace {

using test::ProcessResult;
using testing::HasSubstr;
using namespace std::chrono_literals;

const std::string kModel = std::string(PINION_SOURCE_DIR) + "/models/tiny-flux2";
constexpr std::chrono::milliseconds kLimit = 120s;
// From the moment of the fault: 5 s on a machine that is not busy with other tests.
constexpr double kSoonMs = 15'000;
constexpr int kMostSteps = 1000;

class ProgramFaults : public testing::Test {
 protected:
  const std::string home_ =
      test::scratch_folder(testing::UnitTest::GetInstance()->current_test_info()->name());
  const std::string client_ = home_ + "/client";

  ProcessResult run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), test::pinion_program());
    return test::run_process(arguments, test::settings_in(client_), kLimit);
  }

  std::vector<std::string> generate(const std::string& address, int steps = 2) const {
    return {"generate", "--model",      kModel,
            "--prompt", "a red circle", "--size",
            "64x64",    "--steps",      std::to_string(steps),
            "--worker", address,        "--cut",
            "3",        "--out",        home_ + "/picture.png"};
  }

  test::WorkerProcess worker(const std::string& models = kModel, const std::string& name = "worker") const {
    return test::WorkerProcess(
        {.home = home_ + "/" + name, .models = models, .device = test::test_device(), .more_arguments = {}});
  }

  // A client in the middle of a job of more steps than the test lives to see.
  std::unique_ptr<test::ChildProcess> start_long_job(const std::string& address) const {
    std::vector<std::string> arguments = generate(address, kMostSteps);
    arguments.insert(arguments.begin(), test::pinion_program());
    auto client = std::make_unique<test::ChildProcess>(arguments, test::settings_in(client_));
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (client->running() && client->err().find("drawing") == std::string::npos &&
           std::chrono::steady_clock::now() < deadline) {
      client->wait(50ms);
    }
    client->wait(500ms);
    EXPECT_TRUE(client->running()) << client->err();
    return client;
  }

  // Exactly one line, with everything in `parts`.
  void expect_one_line(const ProcessResult& result, int exit_code,
                       const std::vector<std::string>& parts) const {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    const std::size_t start = result.err.find("pinion: ");
    ASSERT_NE(start, std::string::npos) << result.err;
    const std::string line = result.err.substr(start);
    EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
    for (const std::string& part : parts) EXPECT_THAT(line, HasSubstr(part));
  }

  void expect_serves(const test::WorkerProcess& worker) const {
    const ProcessResult result = run(generate(worker.address()));
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
};

TEST_F(ProgramFaults, PairingIsNeededAndCanBeEnded) {
  const test::WorkerProcess there = worker();
  expect_one_line(run(generate(there.address())), 1, {there.address(), "not paired", "pinion pair"});
  there.pair(client_);
  expect_serves(there);
  const auto peers = nlohmann::json::parse(run({"peers", "--json"}).out);
  EXPECT_EQ(peers.at("workers").at(0).at("address"), there.address());
  EXPECT_THAT(run({"peers"}).out, HasSubstr(there.address()));
  expect_one_line(run({"peers", "--remove", "nobody"}), 1, {"nobody"});
  EXPECT_EQ(run({"peers", "--remove", there.address()}).exit_code, 0);
  expect_one_line(run(generate(there.address())), 1, {there.address(), "not paired"});
}

TEST_F(ProgramFaults, ABadPairingLineIsWrongUsage) {
  const test::WorkerProcess there = worker();
  const std::string& line = there.pairing_line();
  expect_one_line(run({"pair", "pinion://host"}), 2, {"not a pairing line", "pinion worker"});
  expect_one_line(run({"pair", line.substr(0, line.size() - 1)}), 2, {"secret"});
  std::string wrong = line;
  wrong.back() = wrong.back() == 'A' ? 'Q' : 'A';
  expect_one_line(run({"pair", wrong}), 1, {"secret is wrong"});
  EXPECT_EQ(run({"pair", line}).exit_code, 0);
  expect_one_line(run({"pair", "pinion://127.0.0.1:1#" + line.substr(line.find('#') + 1)}), 1,
                  {"127.0.0.1:1"});
}

TEST_F(ProgramFaults, AnotherCertificateIsRefused) {
  test::WorkerProcess there = worker();
  there.pair(client_);
  const test::WorkerProcess impostor = worker(kModel, "impostor");
  // As if the impostor had taken the worker's address.
  std::filesystem::path file;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(client_)) {
    if (entry.path().filename() == "paired_workers.json") file = entry.path();
  }
  std::ifstream in(file);
  nlohmann::json peers = nlohmann::json::parse(in);
  const std::string address = impostor.address();
  peers["peers"][0]["port"] = std::stoi(address.substr(address.rfind(':') + 1));
  std::ofstream(file) << peers.dump();
  expect_one_line(run(generate(address)), 1, {address, "certificate", "pinion pair"});
}

TEST_F(ProgramFaults, DifferentWeightsAreNamedOnBothSides) {
  const std::filesystem::path other = home_ + "/models/other";
  std::filesystem::create_directories(other);
  std::filesystem::copy(kModel, other, std::filesystem::copy_options::recursive);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(other / "transformer")) {
    if (entry.path().extension() != ".safetensors") continue;
    std::fstream weights(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    weights.seekp(-1, std::ios::end);
    const char changed = static_cast<char>(0x3c);
    weights.write(&changed, 1);
  }
  const test::WorkerProcess there = worker(home_ + "/models");
  there.pair(client_);
  expect_one_line(run(generate(there.address())), 1, {"tiny-flux2", "other", there.address(), "--models"});
}

TEST_F(ProgramFaults, AKilledWorkerIsAClearError) {
  test::WorkerProcess there = worker();
  there.pair(client_);
  const auto client = start_long_job(there.address());
  const Stopwatch since;
  there.process().signal(SIGKILL);
  const std::optional<ProcessResult> end = client->wait(60s);
  ASSERT_TRUE(end);
  EXPECT_LT(since.elapsed_ms(), kSoonMs);
  expect_one_line(*end, 1, {there.address(), "step", "check that `pinion worker` runs"});
}

TEST_F(ProgramFaults, AKilledClientDoesNotHurtTheWorker) {
  test::WorkerProcess there = worker();
  there.pair(client_);
  start_long_job(there.address())->signal(SIGKILL);
  expect_serves(there);
  there.process().signal(SIGTERM);
  const std::optional<ProcessResult> end = there.process().wait(10s);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->exit_code, 0) << end->err;
}

TEST_F(ProgramFaults, AWorkerThatCannotStartSaysWhy) {
  const test::WorkerProcess there = worker();
  const std::string port = there.address().substr(there.address().rfind(':') + 1);
  expect_one_line(run({"worker", "--port", port, "--models", kModel}), 1, {port, "--port"});
  expect_one_line(run({"worker", "--bind", "192.0.2.77", "--port", "0"}), 1, {"192.0.2.77"});
  expect_one_line(run({"worker", "--device", "toaster", "--port", "0"}), 2, {"toaster"});
}

}  // namespace
}  // namespace pinion
