#pragma once
// What the tests of `pinion codec` share: a folder, the program, files of tensors.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "pinion/base/safetensors.h"
#include "tests/support/child_process.h"

namespace pinion::test {

class CodecProgram : public testing::Test {
 protected:
  // `pinion codec ARGUMENTS`
  ProcessResult run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {pinion_program(), "codec"});
    return run_process(arguments,
                       {{"PINION_CONFIG_DIR", folder_ + "/config"}, {"PINION_CACHE_DIR", folder_ + "/cache"}},
                       std::chrono::seconds(60));
  }

  void expect_done(const std::vector<std::string>& arguments) const {
    const ProcessResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }

  void expect_failure(const std::vector<std::string>& arguments, const std::string& text,
                      int exit_code = 2) const {
    const ProcessResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, testing::HasSubstr(text));
  }

  nlohmann::json json_of(std::vector<std::string> arguments) const {
    arguments.emplace_back("--json");
    const ProcessResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
  }

  std::string file(const std::string& name) const { return folder_ + "/" + name; }

  std::string write(const std::string& name, const TensorList& tensors,
                    const std::map<std::string, std::string>& metadata = {}) const {
    EXPECT_TRUE(write_safetensors(file(name), tensors, metadata).ok());
    return file(name);
  }

  TensorList read(const std::string& name) const {
    const auto opened = SafetensorsFile::open(file(name));
    EXPECT_TRUE(opened.ok()) << opened.error().message();
    TensorList tensors;
    for (const SafetensorsEntry& entry : opened->header().entries) {
      tensors.push_back({entry.name, opened->tensor(entry)});
    }
    return tensors;
  }

  const std::string folder_ = scratch_folder(testing::UnitTest::GetInstance()->current_test_info()->name());
};

}  // namespace pinion::test
