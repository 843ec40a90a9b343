#include "tests/faults/worker_in_process.h"

#include <gtest/gtest.h>

#include "tests/faults/toy_model.h"

namespace pinion::test {

std::filesystem::path fresh_folder(const std::string& name) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "pinion" /
                                       (std::string(test->test_suite_name()) + "." + test->name()) / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

WorkerInProcess::WorkerInProcess(const std::filesystem::path& models, const std::filesystem::path& config,
                                 const std::function<void(worker::WorkerOptions&)>& adjust) {
  std::promise<std::string> line;
  std::future<std::string> first_line = line.get_future();
  worker::WorkerOptions options;
  options.listen.bind = {"127.0.0.1", 0};
  options.config_folder = config;
  options.bases_folder = config / "bases";
  options.models = {models};
  options.on_pairing_line = [line = std::make_shared<std::promise<std::string>>(std::move(line)),
                             is_first = true](const std::string& text) mutable {
    if (std::exchange(is_first, false)) line->set_value(text);
  };
  if (adjust) adjust(options);
  Result<std::unique_ptr<worker::Worker>> opened = worker::Worker::open(std::move(options), toy_backend());
  EXPECT_TRUE(opened.ok()) << opened.error().message();
  worker_ = std::move(opened).value();
  thread_ = std::thread([this] { worker_->run(); });
  line_ = first_line.get();
}

WorkerInProcess::~WorkerInProcess() {
  worker_->stop();
  thread_.join();
}

}  // namespace pinion::test
