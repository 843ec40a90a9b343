#include "pinion/base/device.h"

#include <charconv>

namespace pinion {

std::string name(Device device) { return device.is_cpu() ? "cpu" : "cuda:" + std::to_string(device.index); }

std::optional<Device> device_from_name(std::string_view text) {
  if (text == "cpu") return Device{};
  if (text == "cuda") return Device{Device::Kind::kCuda, 0};
  constexpr std::string_view kPrefix = "cuda:";
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  int index = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (failure != std::errc{} || end != text.data() + text.size() || index < 0) return std::nullopt;
  return Device{Device::Kind::kCuda, index};
}

}  // namespace pinion
