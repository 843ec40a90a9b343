#include "pinion/client/codec_trials.h"

#include <algorithm>

#include "pinion/base/float_formats.h"
#include "pinion/base/stopwatch.h"

namespace pinion::client {
namespace {

using codec::CodecTrial;
using codec::Mode;
using codec::Profile;

constexpr Profile kRaw{.mode = Mode::kRaw};
constexpr Profile kLossless{.mode = Mode::kLossless};
constexpr Profile kInt8{.mode = Mode::kInt8};
constexpr std::size_t kLosslessAt = 1;  // among the candidates, for each way
constexpr double kInt8Db = 36;          // calibrated states above it make a better picture than int8
// A state needs so much less fidelity than the output that is asked for (docs/codec.md, the table).
constexpr double kStateBelowOutputDb = 6;
constexpr double kLeastFidelityDb = 1;

// Fidelity was measured to code 7 to 18 million elements a second (docs/benchmarks.md). Where it would not
// even pay at this many, it is not tried: a wide state takes it seconds.
constexpr double kFidelityAtBestElementsPerMs = 60'000;

// Times below this are repeated, since the first run of a code is slower.
constexpr double kShortMs = 5;
constexpr int kMostRuns = 3;

constexpr int kMostLearned = 2;  // assets of a stream that its first frames bring

Profile fidelity_for(double output_snr_db) {
  return {.mode = Mode::kFidelity,
          .target_snr_db = std::max(output_snr_db - kStateBelowOutputDb, kLeastFidelityDb)};
}

// The most exact first.
std::vector<Profile> candidates(const RemotePlan& plan) {
  std::vector<Profile> profiles{kRaw, kLossless};
  if (plan.auto_codec->exact_only) return profiles;
  const double target = plan.auto_codec->target_db;
  if (target <= kInt8Db) profiles.push_back(kInt8);
  profiles.push_back(fidelity_for(target));
  if (!plan.calibrations.empty()) profiles.push_back({.mode = Mode::kCalibrated, .target_snr_db = target});
  return profiles;
}

codec::BasisLimits basis_limits(const Tensor& tensor) {
  return codec::BasisLimits::for_channels(static_cast<std::size_t>(codec::channels_of(tensor.shape())));
}

template <class RunOnce>
CodecTrial best_of_runs(const Profile& profile, const RunOnce& run_once) {
  Result<CodecTrial> best = run_once();
  for (int i = 1; i < kMostRuns && best.ok() && best->coding_ms() < kShortMs; ++i) {
    Result<CodecTrial> again = run_once();
    if (again.ok() && again->coding_ms() < best->coding_ms()) best = std::move(again);
  }
  if (best.ok()) return std::move(best).value();
  return {.profile = profile, .bytes = 0, .encode_ms = 0, .decode_ms = 0, .why_not = best.error().text};
}

// A velocity has the shape of the latents, and is not there yet. The first latents, which are noise, stand
// for it: nothing is harder to code. What predicts it, the latents among them, is left out.
Result<CodecTrial> try_velocity(const Profile& profile, const Tensor& latents, const std::string& dtype) {
  const DType of_stage = dtype_from_name(dtype).value_or(DType::kF32);
  const Tensor sent = converted(latents, codec::is_exact(profile.mode) ? of_stage : DType::kF16);
  PINION_TRY(const std::unique_ptr<codec::Encoder> encoder,
             codec::Encoder::create(profile, {.threads = codec::job_threads()}));
  const std::unique_ptr<codec::Decoder> decoder = codec::Decoder::create(codec::job_threads());
  Stopwatch watch;
  PINION_TRY(const codec::EncodedFrame encoded, encoder->encode(sent));
  CodecTrial trial{.profile = profile,
                   .bytes = encoded.frame.size(),
                   .encode_ms = watch.lap_ms(),
                   .decode_ms = 0,
                   .why_not = {}};
  if (!encoded.basis.empty()) PINION_TRY_VOID(decoder->add_basis(encoded.basis, basis_limits(sent)));
  watch.lap_ms();
  PINION_TRY_VOID(decoder->decode(encoded.frame, {.max_tensor_bytes = sent.bytes()}));
  trial.decode_ms = watch.lap_ms();
  return trial;
}

class Trials {
 public:
  Trials(const TrialOf& job, const StepRequest& request, const codec::BasisStore& bases)
      : plan_(job.plan),
        grid_(job.constants.token_grid()),
        streams_(job.streams),
        request_(request),
        bases_(bases),
        takes_maps_(job.workers.take_maps),
        latents_(floats_of(request.latents)) {}

  std::int64_t elements() const {
    std::int64_t sum = 0;
    for (const NamedTensor& entry : request_.state) sum += entry.tensor.elements();
    return sum;
  }

  CodecTrial run(const Profile& profile) const {
    return best_of_runs(profile, [&] { return run_once(profile); });
  }

  // What the velocity takes that returns with states that were coded so.
  double way_back_ms(const CodecTrial& trial, const codec::DirectionChoice& usual) const {
    if (trial.profile.mode != Mode::kCalibrated) {
      return codec::expected_ms(usual.trials[usual.chosen], *usual.link);
    }
    const int last_cut = plan_.stages.back().begin;
    const auto* velocity = plan_.calibrations.find(last_cut, "velocity");
    if (velocity == nullptr) return codec::expected_ms(usual.trials[kLosslessAt], *usual.link);
    std::vector<codec::StepStream> streams{{velocity->calibration, context().output_rows}};
    for (const NamedTensor& entry : request_.state) {
      if (const auto* state = plan_.calibrations.find(last_cut, entry.name))
        streams.push_back({state->calibration, codec::rows_of(entry.tensor.shape())});
    }
    const double share_db =
        codec::share_of({.output_snr_db = trial.profile.target_snr_db}, streams, 0, context()).output_snr_db;
    const double bytes = codec::expected_bits(streams.front(), context(), share_db) / 8;
    // Coding is taken to be as fast as that of the states.
    const auto part = static_cast<double>(request_.latents.elements()) / static_cast<double>(elements());
    return part * trial.coding_ms() + 1000 * bytes / usual.link->bytes_per_s;
  }

 private:
  Result<CodecTrial> run_once(const Profile& profile) const {
    CodecTrial sum{.profile = profile, .bytes = 0, .encode_ms = 0, .decode_ms = 0, .why_not = {}};
    PINION_TRY(const TensorList streams, streams_.for_profile(profile).split(request_.state));
    for (const NamedTensor& entry : streams) {
      PINION_TRY_VOID(add_stream(entry, sum));
    }
    return sum;
  }

  // One that begins as the job's will, whose receiver holds `known`. The job counts the state itself.
  Result<codec::StreamSender> make_sender(const Profile& profile, const std::string& stream,
                                          const std::vector<std::string>& known) const {
    const codec::CalibrationSet::Entry* entry = find_calibration(stream);
    return codec::StreamSender::create({.profile = profile,
                                        .calibration = entry == nullptr ? nullptr : entry->calibration,
                                        .place = {plan_.model_hash, cut(), stream},
                                        .known_bases = known,
                                        .has_latent_rows = has_latent_rows(stream),
                                        .keeps_lessons = false,
                                        .encoding = {.threads = codec::job_threads()}},
                                       bases_);
  }

  Result<void> add_stream(const NamedTensor& entry, CodecTrial& sum) const {
    const codec::CalibrationSet::Entry* calibration = find_calibration(entry.name);
    codec::StreamReceiver receiver(calibration == nullptr ? nullptr : calibration->calibration,
                                   has_latent_rows(entry.name), codec::job_threads());
    const std::vector<Bytes> kept = bases_.load({plan_.model_hash, cut(), entry.name});
    for (const Bytes& asset : kept) static_cast<void>(receiver.add_basis(asset, basis_limits(entry.tensor)));
    std::vector<std::string> known = codec::basis_hashes(kept);
    Stopwatch watch;
    codec::EncodedFrame encoded;
    double encode_ms = 0;
    // Looking for a map and a basis, one after the other, is for once. The next sender finds them in the
    // store.
    for (int learned = 0; learned <= kMostLearned; ++learned) {
      PINION_TRY(codec::StreamSender sender, make_sender(sum.profile, entry.name, known));
      watch.lap_ms();
      PINION_TRY(encoded, sender.encode(entry.tensor, context()));
      encode_ms = watch.lap_ms();
      if (encoded.basis.empty()) break;
      PINION_TRY_VOID(receiver.add_basis(encoded.basis, basis_limits(entry.tensor)));
      known.push_back(codec::basis_hash(encoded.basis));
    }
    sum.encode_ms += encode_ms;
    sum.bytes += encoded.frame.size();
    watch.lap_ms();
    PINION_TRY_VOID(receiver.decode(encoded.frame, context(), {.max_tensor_bytes = entry.tensor.bytes()}));
    sum.decode_ms += watch.lap_ms();
    return {};
  }

  int cut() const { return plan_.stages.front().begin; }

  bool has_latent_rows(const std::string& stream) const {
    return takes_maps_ && stream == plan_.picture_tensor;
  }

  const codec::CalibrationSet::Entry* find_calibration(const std::string& stream) const {
    return plan_.calibrations.find(cut(), stream);
  }

  codec::StepContext context() const {
    return {.sigma = request_.sigma.front(),
            .previous_sigma = std::nullopt,
            .latents = latents_,
            .previous_latents = {},
            .output_rows = request_.latents.shape()[0] * request_.latents.shape()[1],
            .grid = grid_};
  }

  const RemotePlan& plan_;
  const codec::TokenGrid grid_;
  const codec::StateStreams& streams_;
  const StepRequest& request_;
  const codec::BasisStore& bases_;
  const bool takes_maps_;
  const std::vector<float> latents_;
};

// Why a calibration cannot serve this job, or nothing. What it can do at the first cut, a trial says.
std::string why_not_calibrated(const TrialOf& job, const StepRequest& request) {
  if (const auto fits = check_calibrated(job.plan, job.constants, job.workers); !fits.ok())
    return fits.error().text;
  if (std::ranges::any_of(request.sigma, [&](float sigma) { return sigma != request.sigma.front(); })) {
    return "pictures at different noise levels";
  }
  for (const RemoteStage& stage : job.plan.stages) {
    for (const NamedTensor& entry : request.state) {
      if (job.plan.calibrations.find(stage.begin, entry.name) == nullptr)
        return "no calibration of \"" + entry.name + "\" at cut " + std::to_string(stage.begin);
    }
  }
  return "";
}

}  // namespace

codec::CodecChoice choose_by_trial(const TrialOf& job, const StepRequest& request,
                                   const codec::LinkSpeed& link, const codec::BasisStore& bases,
                                   const std::optional<codec::DirectionChoice>& way_back) {
  const RemotePlan& plan = job.plan;
  const Trials trials(job, request, bases);
  codec::CodecChoice choice;
  choice.link = link;
  for (const Profile& profile : candidates(plan)) {
    std::string why_not;
    if (profile.mode == Mode::kCalibrated) why_not = why_not_calibrated(job, request);
    if (profile.mode == Mode::kFidelity) {
      const CodecTrial& best = choice.trials[codec::choose_codec(choice.trials, link)];
      const double at_best_ms = static_cast<double>(trials.elements()) / kFidelityAtBestElementsPerMs;
      if (codec::expected_ms(best, link) < at_best_ms) why_not = "coding alone takes longer";
    }
    if (why_not.empty()) {
      CodecTrial& trial = choice.trials.emplace_back(trials.run(profile));
      if (way_back && trial.why_not.empty()) trial.way_back_ms = trials.way_back_ms(trial, *way_back);
    } else {
      choice.trials.push_back(
          {.profile = profile, .bytes = 0, .encode_ms = 0, .decode_ms = 0, .why_not = std::move(why_not)});
    }
  }
  choice.chosen = codec::choose_codec(choice.trials, link);
  if (choice.profile().mode != Mode::kCalibrated) choice.way_back = way_back;
  if (plan.stages.size() > 1) choice.note = "the links between workers are taken to be like the first";
  return choice;
}

codec::DirectionChoice choose_way_back(const RemotePlan& plan, const StepRequest& request,
                                       const codec::LinkSpeed& link) {
  codec::DirectionChoice choice;
  choice.link = link;
  std::vector<Profile> profiles{kRaw, kLossless};
  if (!plan.auto_codec->exact_only) {
    profiles.push_back(codec::velocity_profile(fidelity_for(plan.auto_codec->target_db)));
  }
  for (const Profile& profile : profiles) {
    choice.trials.push_back(
        best_of_runs(profile, [&] { return try_velocity(profile, request.latents, plan.dtype); }));
  }
  choice.chosen = codec::choose_codec(choice.trials, link);
  return choice;
}

codec::CodecChoice choice_without_state(const RemotePlan& plan) {
  codec::CodecChoice choice;
  choice.trials.push_back({.profile = kRaw, .bytes = 0, .encode_ms = 0, .decode_ms = 0, .why_not = {}});
  choice.note = plan.stages.size() > 1 ? "this process sends latents only, and has no state to try codecs on"
                                       : "only latents are sent, exactly";
  return choice;
}

}  // namespace pinion::client
