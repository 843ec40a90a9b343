#pragma once
// The one log: to standard error, so that standard output stays for results. Libraries log what an
// operator of a worker wants to read; what a caller must handle is a Result. Thread-safe.

#include <spdlog/spdlog.h>

#include <string_view>

namespace pinion {

// "debug", "info", "warn", "error" or "off"; anything else is taken as "info". Call once at start.
void start_log(std::string_view level);

}  // namespace pinion
