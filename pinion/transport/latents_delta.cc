#include "pinion/transport/latents_delta.h"

#include <optional>

namespace pinion::transport {
namespace {

// Floats as integers in the order of their values: a bijection, NaN included.
std::uint32_t ordered(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return (bits & 0x80000000u) == 0 ? bits : ~(bits ^ 0x80000000u);
}

float from_ordered(std::uint32_t order) {
  return std::bit_cast<float>((order & 0x80000000u) == 0 ? order : ~order ^ 0x80000000u);
}

std::uint32_t zigzag(std::uint32_t difference) { return (difference << 1) ^ (0u - (difference >> 31)); }
std::uint32_t unzigzag(std::uint32_t code) { return (code >> 1) ^ (0u - (code & 1)); }

void put_number(std::uint32_t value, Bytes& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>(value | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

// The next LEB128 number, in its shortest form only.
std::optional<std::uint32_t> take_number(ByteReader& reader) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    const auto byte = reader.read<std::uint8_t>();
    if (reader.failed() || (byte == 0 && shift > 0)) return std::nullopt;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0)
      return value <= 0xffffffffu ? std::optional(static_cast<std::uint32_t>(value)) : std::nullopt;
  }
  return std::nullopt;
}

Error broken(const ByteReader& reader) {
  return Error{Errc::kBadFormat, "latents difference is broken at byte " + std::to_string(reader.offset()),
               ""};
}

}  // namespace

void predict_latents(std::span<const float> latents, std::span<const float> velocity, float delta_sigma,
                     std::span<float> out) {
  PINION_ASSERT(latents.size() == velocity.size() && latents.size() == out.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float change = delta_sigma * velocity[i];
    out[i] = latents[i] + change;
  }
}

Bytes encode_latents_delta(std::span<const float> latents, std::span<const float> prediction) {
  PINION_ASSERT(latents.size() == prediction.size());
  Bytes delta;
  std::uint32_t run = 0;
  const auto end_run = [&] {
    if (run == 0) return;
    delta.push_back(std::byte{0});
    put_number(run, delta);
    run = 0;
  };
  for (std::size_t i = 0; i < latents.size(); ++i) {
    const std::uint32_t code = zigzag(ordered(latents[i]) - ordered(prediction[i]));
    if (code == 0) {
      ++run;
      continue;
    }
    end_run();
    put_number(code, delta);
  }
  end_run();
  return delta;
}

Result<void> apply_latents_delta(ByteSpan delta, std::span<float> latents) {
  ByteReader reader(delta);
  std::size_t at = 0;
  while (at < latents.size()) {
    const std::optional<std::uint32_t> code = take_number(reader);
    if (!code) return broken(reader);
    if (*code != 0) {
      latents[at] = from_ordered(ordered(latents[at]) + unzigzag(*code));
      ++at;
      continue;
    }
    const std::optional<std::uint32_t> run = take_number(reader);
    if (!run || *run == 0 || *run > latents.size() - at) return broken(reader);
    at += *run;
  }
  if (reader.remaining() != 0) return broken(reader);
  return {};
}

}  // namespace pinion::transport
