// A client process with a toy model: toy_client MODEL CUT STEPS [HOST:PORT END]... Says when each step
// begins, and at the end either "done" or, on standard error, one line that says what is wrong.

#include <cstdio>
#include <cstdlib>

#include "tests/faults/toy_job.h"

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  pinion::test::ToyJobOptions options;
  options.model = argv[1];
  options.cut = std::atoi(argv[2]);
  options.steps = std::atoi(argv[3]);
  for (int i = 4; i + 1 < argc; i += 2) options.stages.emplace_back(argv[i], std::atoi(argv[i + 1]));
  options.before_step = [](int step) {
    std::printf("step %d\n", step);
    std::fflush(stdout);
  };
  const auto outcome = pinion::test::run_toy_job(options);
  if (!outcome.ok()) {
    std::fprintf(stderr, "%s: %s\n", name(outcome.error().code).data(), outcome.error().message().c_str());
    return 1;
  }
  std::printf("done\n");
  return 0;
}
