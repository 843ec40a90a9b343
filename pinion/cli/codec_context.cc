#include "pinion/cli/codec_context.h"

#include <charconv>

#include "pinion/base/float_formats.h"
#include "pinion/cli/codec_sequence.h"
#include "pinion/codec/frame_format.h"

namespace pinion::cli {
namespace {

Error missing(const SafetensorsFile& file, const std::string& what) {
  return Error{Errc::kInvalidArgument, file.path().string() + what,
               "calibrated frames need the latents and noise levels of their steps: latents.tN and sigmas, "
               "as `pinion generate --record` writes them"};
}

}  // namespace

Result<SequenceContext> SequenceContext::open(const std::filesystem::path& path) {
  PINION_TRY(SafetensorsFile file, SafetensorsFile::open(path));
  const SafetensorsEntry* const sigmas = file.find("sigmas");
  if (sigmas == nullptr || !is_float(sigmas->dtype)) return missing(file, " has no sigmas");
  std::vector<float> values = floats_of(file.tensor(*sigmas));
  return SequenceContext(std::move(file), std::move(values));
}

std::string SequenceContext::model_hash() const {
  const auto found = file_.header().metadata.find("model_hash");
  return found == file_.header().metadata.end() ? "" : found->second;
}

codec::TokenGrid SequenceContext::grid() const {
  const auto number = [&](const char* key) {
    std::size_t value = 0;
    const auto found = file_.header().metadata.find(key);
    if (found != file_.header().metadata.end()) {
      const std::string& text = found->second;
      std::from_chars(text.data(), text.data() + text.size(), value);
    }
    return value;
  };
  return {.lines = number("grid_lines"), .columns = number("grid_columns")};
}

Result<const SequenceContext::Known*> SequenceContext::known(const std::string& tensor) {
  const std::optional<long> step = split_step(tensor).step;
  if (!step) return missing(file_, ": " + tensor + " does not say of which step it is, as in cut3.image.t0");
  if (const auto found = steps_.find(*step); found != steps_.end()) return &found->second;
  const std::string name = "latents.t" + std::to_string(*step);
  if (static_cast<std::size_t>(*step) >= sigmas_.size()) {
    return missing(file_, ": " + tensor + " is of step " + std::to_string(*step) + ", but sigmas has only " +
                              std::to_string(sigmas_.size()) + " values");
  }
  const SafetensorsEntry* const latents = file_.find(name);
  if (latents == nullptr || !is_float(latents->dtype)) {
    return missing(file_, " has no " + name + ", which " + tensor + " is predicted from");
  }
  Known known{.sigma = sigmas_[static_cast<std::size_t>(*step)],
              .latents = floats_of(file_.tensor(*latents)),
              .rows = codec::rows_of(latents->shape)};
  return &steps_.emplace(*step, std::move(known)).first->second;
}

Result<codec::StepContext> SequenceContext::at(const std::string& tensor, const std::string& before) {
  PINION_TRY(const Known* const now, known(tensor));
  codec::StepContext context{.sigma = now->sigma,
                             .previous_sigma = std::nullopt,
                             .latents = now->latents,
                             .previous_latents = {},
                             .output_rows = now->rows,
                             .grid = grid()};
  if (before.empty()) return context;
  PINION_TRY(const Known* const last, known(before));
  context.previous_sigma = last->sigma;
  context.previous_latents = last->latents;
  return context;
}

}  // namespace pinion::cli
