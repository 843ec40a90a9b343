#include "pinion/base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <string>

namespace pinion {

void start_log(std::string_view level) {
  const spdlog::level::level_enum parsed = spdlog::level::from_str(std::string(level));
  const bool unknown = parsed == spdlog::level::off && level != "off";
  auto logger =
      std::make_shared<spdlog::logger>("pinion", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%H:%M:%S.%e %^%l%$ %v");
  logger->set_level(unknown ? spdlog::level::info : parsed);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace pinion
