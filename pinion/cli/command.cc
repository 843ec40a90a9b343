#include "pinion/cli/command.h"

#include <cstdio>

namespace pinion::cli {

int report(const Error& error) {
  std::fprintf(stderr, "pinion: %s\n", error.message().c_str());
  if (error.code == Errc::kCancelled) return kInterrupted;
  return error.code == Errc::kInvalidArgument ? kWrongUsage : kJobFailed;
}

}  // namespace pinion::cli
