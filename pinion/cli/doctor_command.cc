// pinion doctor: what works on this machine and what is missing.

#include <fmt/core.h>

#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "pinion/cli/command.h"
#include "pinion/cli/machine_checks.h"

namespace pinion::cli {
namespace {

struct DoctorOptions {
  std::filesystem::path models = "models";
  bool json = false;
};

const char* level_name(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kWarn:
      return "warn";
    case Level::kMissing:
      return "missing";
  }
  return "";
}

std::vector<Finding> all_findings(const DoctorOptions& options) {
  std::vector<Finding> all;
  for (std::vector<Finding> part :
       {check_processor(), check_compute(), check_network(), check_folders(), check_models(options.models)}) {
    std::move(part.begin(), part.end(), std::back_inserter(all));
  }
  return all;
}

void print_text(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    fmt::print("{:<8} {:<14} {}\n", level_name(finding.level), finding.what, finding.detail);
    if (!finding.advice.empty()) fmt::print("{:<23} -> {}\n", "", finding.advice);
  }
}

void print_json(const std::vector<Finding>& findings, bool usable) {
  nlohmann::ordered_json all = {{"usable", usable}, {"findings", nlohmann::ordered_json::array()}};
  for (const Finding& finding : findings) {
    all["findings"].push_back({{"level", level_name(finding.level)},
                               {"what", finding.what},
                               {"detail", finding.detail},
                               {"advice", finding.advice}});
  }
  fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

int run_doctor(const DoctorOptions& options) {
  const std::vector<Finding> findings = all_findings(options);
  bool usable = true;
  for (const Finding& finding : findings) usable = usable && finding.level != Level::kMissing;
  options.json ? print_json(findings, usable) : print_text(findings);
  return usable ? kDone : kJobFailed;
}

}  // namespace

void add_doctor_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command = app.add_subcommand("doctor", "What works on this machine and what is missing");
  command->add_option("--models", options->models, "Folder with models")
      ->envname("PINION_MODELS")
      ->capture_default_str();
  command->add_flag("--json", options->json, "For programs");
  command->callback([options, &action] { action = [options] { return run_doctor(*options); }; });
}

}  // namespace pinion::cli
