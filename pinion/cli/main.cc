// pinion: the one command. Each sub-command lives in x_command.cc; this file only parses and runs.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "pinion/base/log.h"
#include "pinion/base/user_folders.h"
#include "pinion/cli/command.h"

namespace {

using pinion::cli::Action;

void add_commands(CLI::App& app, Action& action) {
  pinion::cli::add_generate_command(app, action);
  pinion::cli::add_worker_command(app, action);
  pinion::cli::add_pair_command(app, action);
  pinion::cli::add_peers_command(app, action);
  pinion::cli::add_models_command(app, action);
  pinion::cli::add_forward_command(app, action);
  pinion::cli::add_codec_command(app, action);
  pinion::cli::add_calibrate_command(app, action);
  pinion::cli::add_doctor_command(app, action);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Pinion runs one generative model on several GPUs that are joined by ordinary wires.\n"
      "Start a worker on the other machine, pair once, then generate:\n\n"
      "  there$ pinion worker --bind 0.0.0.0 --models ~/models\n"
      "  here$  pinion pair pinion://there:7777#...\n"
      "  here$  pinion generate --model ~/models/FLUX.2-klein --prompt \"a red fox\" --worker there --cut 8",
      "pinion"};
  app.set_version_flag("--version", PINION_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.set_config("--config", (pinion::config_folder() / "config.toml").string(),
                 "Settings file (TOML); flags and PINION_* win over it");
  std::string log_level = "warn";
  app.add_option("--log", log_level, "debug, info, warn, error or off")
      ->envname("PINION_LOG")
      ->capture_default_str();

  Action action;
  add_commands(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& failure) {
    return app.exit(failure) == 0 ? pinion::cli::kDone : pinion::cli::kWrongUsage;
  }
  pinion::start_log(log_level);
  try {
    return action ? action() : pinion::cli::kWrongUsage;
  } catch (const std::bad_alloc&) {
    return pinion::cli::report(
        {pinion::Errc::kOutOfMemory, "out of memory", "use a smaller --size or --batch, or more workers"});
  } catch (const std::exception& failure) {
    return pinion::cli::report(
        {pinion::Errc::kInternal, failure.what(), "this is a bug in pinion: please report it"});
  }
}
