// `pinion doctor` as a process: what it finds, what it advises, its exit code.

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/child_process.h"

namespace pinion::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class Doctor : public testing::Test {
 protected:
  ProcessResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {pinion_program(), "doctor"});
    return run_process(arguments,
                       {{"PINION_CONFIG_DIR", folder_ + "/config"}, {"PINION_CACHE_DIR", folder_ + "/cache"}},
                       std::chrono::seconds(60));
  }

  // The finding called `what` of a run with --json.
  json finding(const std::string& what, std::vector<std::string> arguments = {}, int exit_code = 0) {
    arguments.push_back("--json");
    const ProcessResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.out << result.err;
    const json report = json::parse(result.out);
    EXPECT_EQ(report["usable"], exit_code == 0);
    for (const json& entry : report["findings"]) {
      if (entry["what"] == what) return entry;
    }
    ADD_FAILURE() << "no finding '" << what << "' in " << result.out;
    return {};
  }

  const std::string folder_ = scratch_folder("doctor");
};

TEST_F(Doctor, SaysSomethingAboutEveryPart) {
  const ProcessResult result = run({"--models", folder_});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  for (const char* part : {"processor", "memory", "libtorch", "OpenSSL", "port 7777", "configuration",
                           "cache", "identity", "paired", "models"}) {
    EXPECT_THAT(result.out, HasSubstr(part));
  }
  EXPECT_THAT(result.out, HasSubstr("-> give the folder with your models: --models DIR"));
  EXPECT_FALSE(fs::exists(folder_ + "/config")) << "the doctor only looks";
}

TEST_F(Doctor, FindsModelsAndDamagedFiles) {
  std::ofstream(folder_ + "/broken.safetensors") << "not one";
  const json damaged = finding("model", {"--models", folder_});
  EXPECT_EQ(damaged["level"], "warn");
  EXPECT_THAT(damaged["detail"], HasSubstr("broken.safetensors"));
  const json shipped = finding("model", {"--models", PINION_SOURCE_DIR "/models"});
  EXPECT_EQ(shipped["level"], "ok");
  EXPECT_THAT(shipped["detail"], HasSubstr("tiny-flux2"));
}

TEST_F(Doctor, PrivateKeyThatOthersCanReadIsAFault) {
  const fs::path key = folder_ + "/config/identity.pem";
  fs::create_directories(key.parent_path());
  std::ofstream(key) << "key";
  fs::permissions(key, fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(finding("identity")["level"], "ok");
  fs::permissions(key, fs::perms::group_read, fs::perm_options::add);
  const json open = finding("identity", {}, 1);
  EXPECT_EQ(open["level"], "missing");
  EXPECT_THAT(open["advice"], HasSubstr("chmod 600 " + key.string()));
}

TEST_F(Doctor, FolderThatCannotBeMadeIsAFault) {
  std::ofstream(folder_ + "/config") << "a file in the way";
  EXPECT_EQ(finding("configuration", {}, 1)["level"], "missing");
}

TEST_F(Doctor, PortInUseIsAWarning) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(7777);
  const bool ours = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
                    ::listen(socket, 1) == 0;
  // If the port is not ours then somebody else has it, and the finding must be the same.
  EXPECT_EQ(finding("port 7777")["level"], "warn")
      << (ours ? "held by this test" : "held by another process");
  ::close(socket);
}

TEST_F(Doctor, WrongUsage) { EXPECT_EQ(run({"--nonsense"}).exit_code, 2); }

}  // namespace
}  // namespace pinion::test
