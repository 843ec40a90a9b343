#pragma once
// The user's folders, by the XDG base directory rules. Pure look-ups: nothing is created.

#include <filesystem>

namespace pinion {

// $PINION_CONFIG_DIR, else $XDG_CONFIG_HOME/pinion, else ~/.config/pinion: certificate, peers, config.toml.
std::filesystem::path config_folder();

// $PINION_CACHE_DIR, else $XDG_CACHE_HOME/pinion, else ~/.cache/pinion: model hashes, codec bases.
std::filesystem::path cache_folder();

}  // namespace pinion
