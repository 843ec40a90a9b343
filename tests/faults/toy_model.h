#pragma once
// A model of a few additions per block that behaves like a real one at every border: it is loaded from a
// file, has a hash, embeds, finishes, takes time, and can be told to run out of memory. For tests of what
// surrounds a model. A file is lines of "key=value": blocks, delay_ms (per block), salt.

#include "pinion/worker/backend.h"

namespace pinion::test {

inline constexpr std::int64_t kToyLatentChannels = 8;
inline constexpr std::int64_t kToyHiddenChannels = 16;
inline constexpr std::int64_t kToyContextChannels = 4;

// Text tokens of a job at whose first step every toy stage reports that memory is out.
inline constexpr std::int64_t kToyOutOfMemoryTokens = 13;

// Writes a toy model's file.
void write_toy_model(const std::filesystem::path& path, int blocks, int delay_ms, const std::string& salt);

// Lists *.toy, opens them, copies nothing, and draws noise as toy_noise() does.
worker::Backend toy_backend();

inline constexpr const char* kToyGenerator = "toy:00000001";
Tensor toy_noise(std::uint64_t seed, std::int64_t batch, std::int64_t channels, models::LatentGrid grid);

}  // namespace pinion::test
