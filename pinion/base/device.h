#pragma once
// Where a tensor's bytes live.

#include <optional>
#include <string>
#include <string_view>

namespace pinion {

struct Device {
  enum class Kind { kCpu, kCuda };
  Kind kind = Kind::kCpu;
  int index = 0;  // CUDA ordinal; 0 for the CPU

  bool is_cpu() const { return kind == Kind::kCpu; }
  bool operator==(const Device&) const = default;
};

// "cpu", "cuda:1".
std::string name(Device device);

// Accepts "cpu", "cuda" (ordinal 0) and "cuda:N".
std::optional<Device> device_from_name(std::string_view text);

}  // namespace pinion
