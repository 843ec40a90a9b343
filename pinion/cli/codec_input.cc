#include "pinion/cli/codec_input.h"

#include <algorithm>

#include "pinion/codec/finite_tensor.h"
#include "pinion/codec/frame_format.h"

namespace pinion::cli {
namespace {

// Every file brings its own bases.
const codec::BasisStore& no_store() {
  static const codec::BasisStore store{std::filesystem::path()};
  return store;
}

bool is_calibrated(const codec::Profile& profile) { return profile.mode == codec::Mode::kCalibrated; }

// A row of the picture brings its latents, so there must be as many of them.
Result<void> check_latents(const Tensor& tensor, const codec::StepContext& context,
                           const codec::Calibration& calibration) {
  const std::int64_t rows = codec::rows_of(tensor.shape());
  if (calibration.latents() == 0 ||
      context.latents.size() == static_cast<std::size_t>(rows) * calibration.latents()) {
    return {};
  }
  return Error{Errc::kInvalidArgument,
               "has " + std::to_string(rows) + " rows, its step's latents have " +
                   std::to_string(context.output_rows) + " rows and " +
                   std::to_string(context.latents.size()) +
                   " values; the calibration wants as many rows, of " +
                   std::to_string(calibration.latents()) + " values each",
               "latents.tN must be of the same job as the state"};
}

}  // namespace

Result<CodecInput> CodecInput::open(CodecInputOptions options) {
  PINION_TRY(SafetensorsFile file, SafetensorsFile::open(options.in));
  options.choice.leaves_context = options.choice.cut.has_value() || !options.calibration.empty();
  CodecInput input(std::move(options), std::move(file));
  const CodecInputOptions& own = input.options_;
  PINION_TRY(input.streams_, choose_streams(input.file_, own.choice));
  if (own.calibration.empty()) return input;
  PINION_TRY(input.context_, SequenceContext::open(own.context.empty() ? own.in : own.context));
  PINION_TRY(input.calibrations_, codec::CalibrationSet::open(own.calibration, input.context_->model_hash()));
  return input;
}

Result<std::shared_ptr<const codec::Calibration>> CodecInput::calibration_of(
    const TensorStream& stream) const {
  std::vector<std::shared_ptr<const codec::Calibration>> found;
  calibrations_.for_each([&](int cut, const std::string& kind, const auto& entry) {
    if (kind == stream.kind && cut == stream.cut.value_or(cut)) found.push_back(entry.calibration);
  });
  if (found.size() == 1) return found.front();
  const std::string at = stream.cut ? " at cut " + std::to_string(*stream.cut) : "";
  const std::string has = options_.calibration.string() + " has " + calibrations_.describe();
  if (!found.empty()) {
    return Error{Errc::kInvalidArgument, stream.name + " may be of several cuts: " + has,
                 "say which with --cut"};
  }
  return Error{Errc::kInvalidArgument, "there is no calibration of \"" + stream.kind + "\"" + at + ": " + has,
               "choose what to code with --cut and --stream, or make a calibration with `pinion calibrate`"};
}

// All that is coded of a cut in a step shares a target. Each calibration stands for one tensor of a step,
// whether steps are streams of their own or not.
std::vector<codec::StepStream> CodecInput::step_streams(int cut) const {
  std::vector<codec::StepStream> sharing;
  for (const TensorStream& stream : streams_) {
    const auto calibration = calibration_of(stream);
    if (!calibration.ok() || static_cast<int>((*calibration)->key.cut) != cut) continue;
    if (std::ranges::find(sharing, *calibration, &codec::StepStream::calibration) != sharing.end()) continue;
    sharing.push_back({*calibration, codec::rows_of(stream.tensors.front()->shape)});
  }
  return sharing;
}

Result<std::unique_ptr<SendingEnd>> CodecInput::sender(const TensorStream& stream,
                                                       const codec::Profile& profile) const {
  codec::SenderSettings settings{
      .profile = profile,
      .calibration = nullptr,
      .place = {.model_hash = "", .cut = stream.cut.value_or(0), .stream = stream.kind},
      .known_bases = {},
      .encoding = {.threads = options_.threads, .measured = false}};
  if (is_calibrated(profile)) {
    PINION_TRY(settings.calibration, calibration_of(stream));
    settings.step_streams = step_streams(static_cast<int>(settings.calibration->key.cut));
  }
  return make_sending_end(options_.device, std::move(settings), no_store());
}

Result<std::unique_ptr<ReceivingEnd>> CodecInput::receiver(const TensorStream& stream,
                                                           const codec::Profile& profile) const {
  std::shared_ptr<const codec::Calibration> calibration;
  if (is_calibrated(profile)) {
    PINION_TRY(calibration, calibration_of(stream));
  }
  LargestTensor largest;
  for (const SafetensorsEntry* entry : stream.tensors) largest.take(entry->dtype, entry->shape);
  return make_receiving_end(options_.device, std::move(calibration), options_.threads, largest);
}

Result<CodecInput::Step> CodecInput::step(const TensorStream& stream, std::size_t i,
                                          const codec::Profile& profile) {
  const SafetensorsEntry& entry = *stream.tensors[i];
  Step step{entry.name, file_.tensor(entry), 0, {}};
  if (options_.sanitises) {
    codec::FiniteTensor finite = codec::make_finite(step.tensor);
    step.tensor = std::move(finite.tensor);
    step.made_finite = finite.changed;
  }
  if (!is_calibrated(profile)) return step;
  const std::string before = i == 0 ? "" : stream.tensors[i - 1]->name;
  PINION_TRY(step.context, context_->at(entry.name, before));
  PINION_TRY(const auto calibration, calibration_of(stream));
  auto fits = check_latents(step.tensor, step.context, *calibration);
  if (!fits.ok()) return in_tensor(std::move(fits).error(), entry.name);
  return step;
}

Result<void> check_calibration_given(const std::vector<codec::Profile>& profiles,
                                     const std::filesystem::path& calibration) {
  if (std::ranges::any_of(profiles, is_calibrated) == !calibration.empty()) return {};
  return Error{Errc::kInvalidArgument, "--mode calibrated:... and --calibration FILE go together",
               "make the file with `pinion calibrate`"};
}

}  // namespace pinion::cli
