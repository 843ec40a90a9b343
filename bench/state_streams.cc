#include "bench/state_streams.h"

#include <charconv>
#include <cmath>
#include <map>

#include "pinion/base/float_formats.h"
#include "pinion/base/safetensors.h"

namespace pinion::bench {
namespace {

constexpr std::size_t kPixelsPerToken = 16;
constexpr std::string_view kFirstStep = ".t0";

std::size_t pixels(const std::map<std::string, std::string>& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return 0;
  std::size_t value = 0;
  std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  return value;
}

codec::TokenGrid grid_of(const StateStream& stream, const std::map<std::string, std::string>& metadata) {
  const auto tokens = static_cast<std::size_t>(stream.steps.front().shape()[0]);
  const codec::TokenGrid picture{pixels(metadata, "height") / kPixelsPerToken,
                                 pixels(metadata, "width") / kPixelsPerToken};
  return stream.rows == "image" && picture.tokens() == tokens ? picture : codec::squarest_grid(tokens);
}

std::vector<double> channel_means(std::span<const float> values, std::size_t channels) {
  std::vector<double> means(channels);
  for (std::size_t i = 0; i < values.size(); ++i) means[i % channels] += values[i];
  for (double& mean : means) mean /= static_cast<double>(values.size() / channels);
  return means;
}

}  // namespace

Result<std::vector<StateStream>> load_state_streams(const std::filesystem::path& path) {
  PINION_TRY(const SafetensorsFile file, SafetensorsFile::open(path));
  std::map<std::string, StateStream> by_name;
  for (const SafetensorsEntry& entry : file.header().entries) {
    const std::string& name = entry.name;
    if (!name.ends_with(kFirstStep) || entry.shape.rank() != 2 || !is_float(entry.dtype)) continue;
    const std::string base = name.substr(0, name.size() - kFirstStep.size());
    const std::size_t dot = base.find('.');
    if (!base.starts_with("cut") || dot == std::string::npos) continue;
    StateStream stream{path.stem().string(), base.substr(0, dot), base.substr(dot + 1), {}, {}};
    for (int step = 0;; ++step) {
      const SafetensorsEntry* const next = file.find(base + ".t" + std::to_string(step));
      if (next == nullptr || !(next->shape == entry.shape) || next->dtype != entry.dtype) break;
      stream.steps.push_back(file.tensor(*next));
    }
    stream.grid = grid_of(stream, file.header().metadata);
    by_name.emplace(base, std::move(stream));
  }
  if (by_name.empty()) {
    return Error{Errc::kNotFound, path.string() + ": no tensor is named like cut3.image.t0", {}};
  }
  std::vector<StateStream> streams;
  for (auto& [name, stream] : by_name) streams.push_back(std::move(stream));
  return streams;
}

double centred_cosine(std::span<const float> original, std::span<const float> other, std::size_t channels) {
  PINION_ASSERT(original.size() == other.size() && channels > 0);
  const std::vector<double> original_means = channel_means(original, channels);
  const std::vector<double> other_means = channel_means(other, channels);
  double original_energy = 0, other_energy = 0, product = 0;
  for (std::size_t i = 0; i < original.size(); ++i) {
    const double a = original[i] - original_means[i % channels];
    const double b = other[i] - other_means[i % channels];
    original_energy += a * a;
    other_energy += b * b;
    product += a * b;
  }
  const double energy = original_energy * other_energy;
  return energy == 0 ? 0 : product / std::sqrt(energy);
}

double snr_db_of_cosine(double cosine) { return -10 * std::log10(1 - cosine * cosine); }

}  // namespace pinion::bench
