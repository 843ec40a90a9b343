#include <algorithm>
#include <array>

#include "pinion/models/family.h"
#include "pinion/models/flux2/flux2_family.h"

namespace pinion::models {

std::span<const Family* const> families() {
  static const std::array<const Family*, 1> all = {
      &flux2::family(),
  };
  return all;
}

const Family* find_family(std::string_view name) {
  const auto all = families();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Family* family) { return family->name() == name; });
  return found == all.end() ? nullptr : *found;
}

Result<const Family*> recognise(const Weights& weights) {
  for (const Family* family : families()) {
    if (family->recognises(weights)) return family;
  }
  std::string known;
  for (const Family* family : families()) known += (known.empty() ? "" : ", ") + std::string(family->name());
  return Error{Errc::kUnsupported,
               weights.path().string() + " is no diffusion model that can be run: it looks like " +
                   describe_weights(weights),
               "families that can be run: " + known};
}

std::filesystem::path transformer_path(const std::filesystem::path& path) {
  std::error_code ignored;
  const std::filesystem::path inner = path / "transformer";
  return std::filesystem::is_directory(inner, ignored) ? inner : path;
}

Result<std::unique_ptr<Model>> open_model(const std::filesystem::path& path) {
  PINION_TRY(Weights weights, Weights::open(transformer_path(path)));
  PINION_TRY(const Family* family, recognise(weights));
  return family->open(std::move(weights));
}

}  // namespace pinion::models
