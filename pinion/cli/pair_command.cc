// pinion pair: makes this machine and a worker know each other.

#include <fmt/core.h>

#include <memory>

#include "pinion/base/user_folders.h"
#include "pinion/cli/command.h"
#include "pinion/client/pairing.h"

namespace pinion::cli {

void add_pair_command(CLI::App& app, Action& action) {
  auto line = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("pair", "Pair with a worker, so that it works for this machine");
  command->add_option("line", *line, "What the worker printed: pinion://host:port#... (in quotes)")
      ->required();
  command->callback([line, &action] {
    action = [line] {
      const Result<transport::Address> paired = client::pair_with(*line, config_folder());
      if (!paired.ok()) return report(paired.error());
      fmt::print("paired with the worker at {}\n", to_string(*paired));
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace pinion::cli
