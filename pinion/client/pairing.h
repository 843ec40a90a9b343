#pragma once
// Pairing with a worker, from the client's side (docs/protocol.md, section 3).

#include <chrono>
#include <filesystem>
#include <string_view>

#include "pinion/transport/pairing_line.h"

namespace pinion::client {

// Connects to the worker that printed `line`, shows it the secret, and remembers it in `config_folder`.
// Returns its address. Blocks for at most `deadline`.
Result<transport::Address> pair_with(std::string_view line, const std::filesystem::path& config_folder,
                                     std::chrono::milliseconds deadline = std::chrono::milliseconds(4000));

}  // namespace pinion::client
