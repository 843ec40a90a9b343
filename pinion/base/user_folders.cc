#include "pinion/base/user_folders.h"

#include <cstdlib>

namespace pinion {
namespace {

std::filesystem::path user_folder(const char* own, const char* xdg, const char* below_home) {
  if (const char* folder = std::getenv(own); folder != nullptr && *folder != '\0') return folder;
  if (const char* folder = std::getenv(xdg); folder != nullptr && *folder != '\0') {
    return std::filesystem::path(folder) / "pinion";
  }
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home != nullptr ? home : ".") / below_home / "pinion";
}

}  // namespace

std::filesystem::path config_folder() {
  return user_folder("PINION_CONFIG_DIR", "XDG_CONFIG_HOME", ".config");
}
std::filesystem::path cache_folder() { return user_folder("PINION_CACHE_DIR", "XDG_CACHE_HOME", ".cache"); }

}  // namespace pinion
