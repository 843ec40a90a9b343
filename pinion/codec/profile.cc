#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "pinion/codec/codec.h"

namespace pinion::codec {
namespace {

constexpr double kMaxTargetDb = 100;
constexpr double kMaxBudgetBytes = 1e9;

struct ByteUnit {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<ByteUnit, 3> kByteUnits = {{{"MB", 1'000'000}, {"kB", 1000}, {"B", 1}}};

Error unknown_profile(std::string_view text) {
  return Error{Errc::kInvalidArgument, "unknown codec mode '" + std::string(text) + "'",
               "use raw, lossless, bounded:ERROR, bounded:rel:ERROR (such as bounded:rel:.01), int8, int4, "
               "fidelity:DB (such as fidelity:20), cos:VALUE (such as cos:.995), calibrated:DB (such as "
               "calibrated:30) or calibrated:BYTES a step (such as calibrated:64kB)"};
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

Result<Profile> lossy_profile(Mode mode, double target_db, std::string_view text) {
  if (target_db > 0 && target_db <= kMaxTargetDb) return Profile{.mode = mode, .target_snr_db = target_db};
  return Error{Errc::kInvalidArgument, "the fidelity target in '" + std::string(text) + "' is out of range",
               "choose more than 0 and at most 100 dB"};
}

// "64kB" and the like; nothing if it has no unit or no number.
std::optional<Result<Profile>> budget_profile(std::string_view size, std::string_view text) {
  for (const ByteUnit& unit : kByteUnits) {
    if (!size.ends_with(unit.name)) continue;
    const std::optional<double> number = parse_number(size.substr(0, size.size() - unit.name.size()));
    if (!number) return std::nullopt;
    const double bytes = std::round(*number * static_cast<double>(unit.bytes));
    if (bytes >= 1 && bytes <= kMaxBudgetBytes) {
      return Profile{.mode = Mode::kCalibrated, .budget_bytes = static_cast<std::size_t>(bytes)};
    }
    return Error{Errc::kInvalidArgument, "the budget in '" + std::string(text) + "' is out of range",
                 "choose from 1B to 1000MB"};
  }
  return std::nullopt;
}

}  // namespace

std::string_view name(Mode mode) {
  switch (mode) {
    case Mode::kRaw:
      return "raw";
    case Mode::kLossless:
      return "lossless";
    case Mode::kFidelity:
      return "fidelity";
    case Mode::kBounded:
      return "bounded";
    case Mode::kInt8:
      return "int8";
    case Mode::kInt4:
      return "int4";
    case Mode::kCalibrated:
      return "calibrated";
    case Mode::kMapped:
      return "mapped";
  }
  return "unknown";
}

Result<Profile> parse_profile(std::string_view text) {
  if (text == "raw") return Profile{.mode = Mode::kRaw, .target_snr_db = 0};
  for (const Mode mode : {Mode::kLossless, Mode::kInt8, Mode::kInt4}) {
    if (text == name(mode)) return Profile{.mode = mode, .target_snr_db = 0};
  }
  std::string_view rest = text;
  const auto eat = [&rest](std::string_view prefix) {
    if (!rest.starts_with(prefix)) return false;
    rest.remove_prefix(prefix.size());
    return true;
  };
  if (eat("bounded:")) {
    const bool relative = eat("rel:");
    const std::optional<double> bound = parse_number(rest);
    if (!bound) return unknown_profile(text);
    if (*bound > 0) {
      return Profile{
          .mode = Mode::kBounded, .target_snr_db = 0, .error_bound = *bound, .bound_is_relative = relative};
    }
    return Error{Errc::kInvalidArgument, "the error bound in '" + std::string(text) + "' is out of range",
                 "choose more than 0"};
  }
  const Mode mode = eat("calibrated:") ? Mode::kCalibrated : Mode::kFidelity;
  const bool has_name = mode == Mode::kCalibrated || eat("fidelity:");
  if (mode == Mode::kFidelity && eat("cos:")) {
    const std::optional<double> cosine = parse_number(rest);
    if (!cosine) return unknown_profile(text);
    return lossy_profile(mode, *cosine > 0 && *cosine < 1 ? -10 * std::log10(1 - *cosine * *cosine) : 0,
                         text);
  }
  if (mode == Mode::kCalibrated) {
    if (auto budget = budget_profile(rest, text)) return *std::move(budget);
  }
  const std::optional<double> decibels = has_name ? parse_number(rest) : std::nullopt;
  if (!decibels) return unknown_profile(text);
  return lossy_profile(mode, *decibels, text);
}

std::string to_string(const Profile& profile) {
  const auto with_number = [&](std::string_view separator, double number) {
    std::array<char, 32> digits{};
    const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number);
    PINION_ASSERT(error == std::errc{});
    return std::string(name(profile.mode)) + std::string(separator) + std::string(digits.data(), end);
  };
  switch (profile.mode) {
    case Mode::kCalibrated:
      if (profile.budget_bytes > 0) {
        const auto unit = std::ranges::find_if(
            kByteUnits, [&](const ByteUnit& tried) { return profile.budget_bytes % tried.bytes == 0; });
        return std::string(name(profile.mode)) + ":" + std::to_string(profile.budget_bytes / unit->bytes) +
               std::string(unit->name);
      }
      return with_number(":", profile.target_snr_db);
    case Mode::kFidelity:
      return with_number(":", profile.target_snr_db);
    case Mode::kBounded:
      return with_number(profile.bound_is_relative ? ":rel:" : ":", profile.error_bound);
    default:
      return std::string(name(profile.mode));
  }
}

}  // namespace pinion::codec
