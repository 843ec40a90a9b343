#include "tests/support/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

namespace pinion::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

milliseconds left_until(steady_clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
  return std::max(left, milliseconds(0));
}

// argv or envp for execve: made before the fork, because a child of a threaded process may not allocate.
class StringArray {
 public:
  explicit StringArray(std::vector<std::string> texts) : texts_(std::move(texts)) {
    for (std::string& text : texts_) pointers_.push_back(text.data());
    pointers_.push_back(nullptr);
  }
  char* const* data() const { return pointers_.data(); }

 private:
  std::vector<std::string> texts_;
  std::vector<char*> pointers_;
};

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) entries.push_back(text);
  }
  for (const auto& [key, value] : added) entries.push_back(key + "=" + value);
  return entries;
}

[[noreturn]] void become(const StringArray& arguments, const StringArray& environment, int out, int err) {
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(arguments.data()[0], arguments.data(), environment.data());
  ::_exit(127);
}

// Appends what can be read now; closes and forgets the descriptor at its end.
void drain(int& fd, std::string& text) {
  std::array<char, 4096> buffer;
  const ssize_t count = ::read(fd, buffer.data(), buffer.size());
  if (count > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
  } else if (count == 0) {
    ::close(fd);
    fd = -1;
  }
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments,
                           const std::map<std::string, std::string>& environment) {
  std::array<int, 2> out{}, err{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0)
    throw std::runtime_error("pipe failed");
  const StringArray argv(arguments);
  const StringArray envp(merged_environment(environment));
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) become(argv, envp, out[1], err[1]);
  ::close(out[1]);
  ::close(err[1]);
  out_fd_ = out[0];
  err_fd_ = err[0];
}

ChildProcess::~ChildProcess() {
  if (running()) {
    signal(SIGKILL);
    wait(milliseconds(5000));
  }
  for (const int fd : {out_fd_, err_fd_}) {
    if (fd >= 0) ::close(fd);
  }
}

void ChildProcess::read_for(milliseconds limit) {
  std::array<pollfd, 2> fds{{{out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}}};  // poll skips negative descriptors
  if (out_fd_ < 0 && err_fd_ < 0) {
    std::this_thread::sleep_for(std::min(limit, milliseconds(5)));
    return;
  }
  if (::poll(fds.data(), fds.size(), static_cast<int>(limit.count())) <= 0) return;
  if (fds[0].revents != 0) drain(out_fd_, out_);
  if (fds[1].revents != 0) drain(err_fd_, err_);
}

bool ChildProcess::reap() {
  if (exit_code_) return true;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return true;
}

std::optional<std::string> ChildProcess::wait_for_line(const std::string& text, milliseconds limit) {
  const auto deadline = steady_clock::now() + limit;
  while (true) {
    std::size_t start = 0;
    for (std::size_t end = out_.find('\n'); end != std::string::npos;
         start = end + 1, end = out_.find('\n', start)) {
      const std::string line = out_.substr(start, end - start);
      if (line.find(text) != std::string::npos) return line;
    }
    if (out_fd_ < 0 || left_until(deadline).count() == 0) return std::nullopt;
    read_for(std::min(left_until(deadline), milliseconds(50)));
  }
}

std::optional<ProcessResult> ChildProcess::wait(milliseconds limit) {
  const auto deadline = steady_clock::now() + limit;
  while (true) {
    const bool ended = reap();
    if (ended && out_fd_ < 0 && err_fd_ < 0) return ProcessResult{*exit_code_, out_, err_};
    if (left_until(deadline).count() == 0) {
      // A grandchild may hold the pipes open; the process itself has ended.
      if (ended) return ProcessResult{*exit_code_, out_, err_};
      return std::nullopt;
    }
    read_for(std::min(left_until(deadline), milliseconds(20)));
  }
}

void ChildProcess::signal(int number) {
  if (!reap()) ::kill(pid_, number);
}

bool ChildProcess::running() { return !reap(); }

ProcessResult run_process(const std::vector<std::string>& arguments,
                          const std::map<std::string, std::string>& environment, milliseconds limit) {
  ChildProcess process(arguments, environment);
  if (auto result = process.wait(limit)) return *result;
  return {-1, process.out(), process.err()};
}

std::string scratch_folder(const std::string& name) {
  const char* base = std::getenv("TMPDIR");
  const std::filesystem::path folder = std::filesystem::path(base != nullptr ? base : "/tmp") /
                                       ("pinion-test-" + std::to_string(::getpid())) / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder.string();
}

std::string pinion_program() {
  const char* program = std::getenv("PINION_PROGRAM");
  if (program == nullptr) throw std::runtime_error("PINION_PROGRAM is not set: run this test through ctest");
  return program;
}

}  // namespace pinion::test
