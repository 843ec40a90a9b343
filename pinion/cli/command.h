#pragma once
// How a sub-command plugs into `pinion`: it adds its options to the parser and says what to run.

#include <CLI/CLI.hpp>
#include <functional>

#include "pinion/base/error.h"

namespace pinion::cli {

// What the chosen sub-command wants to run once all arguments are parsed; returns the exit code.
using Action = std::function<int()>;

enum ExitCode { kDone = 0, kJobFailed = 1, kWrongUsage = 2, kInterrupted = 130 };

// Prints "pinion: what and where (what to do)" on standard error and gives the exit code for it:
// kInterrupted for kCancelled, kWrongUsage for kInvalidArgument, else kJobFailed.
int report(const Error& error);

// Sub-commands, one file each: x_command.cc.
void add_calibrate_command(CLI::App& app, Action& action);
void add_codec_command(CLI::App& app, Action& action);
void add_doctor_command(CLI::App& app, Action& action);
void add_forward_command(CLI::App& app, Action& action);
void add_generate_command(CLI::App& app, Action& action);
void add_models_command(CLI::App& app, Action& action);
void add_pair_command(CLI::App& app, Action& action);
void add_peers_command(CLI::App& app, Action& action);
void add_worker_command(CLI::App& app, Action& action);

}  // namespace pinion::cli
