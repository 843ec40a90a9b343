#include "pinion/client/remote_job.h"

#include <atomic>
#include <future>
#include <mutex>

#include "pinion/base/log.h"
#include "pinion/base/stopwatch.h"
#include "pinion/base/user_folders.h"
#include "pinion/client/calibrated_fit.h"
#include "pinion/client/chain.h"
#include "pinion/client/codec_trials.h"
#include "pinion/client/io_thread.h"
#include "pinion/client/step_encoder.h"
#include "pinion/transport/random_bytes.h"

namespace pinion::client {
namespace {

Result<std::string> random_job_id() {
  PINION_TRY(const Bytes bytes, transport::random_bytes(16));
  return to_hex(bytes);
}

Error cancelled() { return Error{Errc::kCancelled, "the job was cancelled", ""}; }

// Whether starting the job again on new connections may help.
bool may_try_again(Errc code) {
  return code == Errc::kConnectionLost || code == Errc::kNotFound || code == Errc::kBadFormat;
}

StreamStats stream_stats(const transport::TraceStream& trace) {
  StreamStats stats{trace.name, {}};
  stats.frame.frame_bytes = trace.frame_bytes;
  stats.frame.basis_bytes = trace.basis_bytes;
  stats.frame.tensor_bytes = trace.tensor_bytes;
  stats.frame.elements = trace.elements;
  stats.frame.ideal_index_bits = trace.ideal_index_bits;
  stats.frame.snr_db = trace.snr_db;
  stats.frame.cosine = trace.cosine;
  stats.frame.output_snr_db = trace.output_snr_db;
  stats.frame.max_error = trace.max_error;
  stats.frame.key_frame = trace.key_frame;
  return stats;
}

Result<void> check_plan(const RemotePlan& plan) {
  const Error bad{Errc::kInvalidArgument, "the stages of the plan are not a chain", ""};
  if (plan.stages.empty() || plan.stages.size() > 64) return bad;
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    if (plan.stages[i].begin >= plan.stages[i].end) return bad;
    if (i > 0 && plan.stages[i].begin != plan.stages[i - 1].end) return bad;
  }
  return {};
}

class NetworkJob : public RemoteJob {
 public:
  NetworkJob(RemotePlan plan, ConnectOptions options, transport::Identity identity, std::string job)
      : plan_(std::move(plan)), options_(options), identity_(std::move(identity)), job_(std::move(job)) {}

  // A job that has not ended is dropped by the workers, which are told so or notice that the connections are
  // gone.
  ~NetworkJob() override {
    if (chain_) asio::post(io_.context(), [chain = std::move(chain_)] { chain->abandon(cancelled()); });
    io_.stop();
  }

  Result<void> connect() {
    auto chain = std::make_shared<Chain>(ChainSetup{plan_, options_, identity_, peers_, job_, attempt_});
    {
      const std::lock_guard lock(mutex_);
      chain_ = chain;
    }
    PINION_TRY_VOID(on_network<void>(chain->open()));
    reports_ = chain->reports();
    return {};
  }

  Result<void> begin(const RemoteConstants& constants) override {
    if (plan_.auto_codec != nullptr && plan_.stages.front().begin == 0 && !plan_.auto_codec->choice) {
      plan_.auto_codec->choice = choice_without_state(plan_);
    }
    take_choice();
    constants_.values = constants;
    if (is_codec_known()) PINION_TRY_VOID(check_profile());
    if (plan_.stages.front().begin == 0) {
      PINION_TRY(constants_.context, encode_constant(constants.context));
      if (constants.reference_latents.defined()) {
        PINION_TRY(constants_.reference_latents, encode_constant(constants.reference_latents));
      }
    }
    constants_.values.context = Tensor();
    constants_.values.reference_latents = Tensor();
    return is_codec_known() ? begin_attempt() : Result<void>();
  }

  Result<RemoteStep> step(const StepRequest& request) override {
    Result<RemoteStep> done = try_step(request);
    if (done.ok() || is_cancelled_ || !may_try_again(done.error().code)) return done;
    const std::string lost = done.error().text;
    spdlog::info("step {}: {}; starting the job again", request.step, lost);
    const Result<void> restarted = restart();
    if (restarted.ok()) return try_step(request);
    if (is_cancelled_) return cancelled();
    return Error(restarted.error())
        .in("step " + std::to_string(request.step) + " failed (" + lost + ") and could not be started again");
  }

  Result<void> end() override { return on_network<void>(chain_->end()); }

  void cancel() override {
    is_cancelled_ = true;
    const std::lock_guard lock(mutex_);
    if (chain_) asio::post(io_.context(), [chain = chain_] { chain->abandon(cancelled()); });
  }

  const std::vector<StageReport>& stages() const override { return reports_; }

 private:
  template <class T>
  Result<T> on_network(asio::awaitable<Result<T>> work) {
    if (is_cancelled_) return cancelled();
    Result<T> done = io_.wait_for(std::move(work));
    if (is_cancelled_) return cancelled();
    return done;
  }

  bool is_codec_known() const { return plan_.auto_codec == nullptr || plan_.auto_codec->choice; }

  // No coroutine is under way that reads the plan.
  void take_choice() {
    if (plan_.auto_codec == nullptr || !plan_.auto_codec->choice) return;
    const codec::CodecChoice& choice = *plan_.auto_codec->choice;
    plan_.state_profile = choice.profile();
    plan_.velocity_profile.reset();
    if (choice.way_back) plan_.velocity_profile = choice.way_back->profile();
  }

  Result<void> choose_codec(const StepRequest& request) {
    if (!is_codec_known()) {
      const Stopwatch watch;
      PINION_TRY(const codec::LinkSpeed link, measure_link(Chain::Direction::kToFirst));
      std::optional<codec::DirectionChoice> way_back;
      if (chain_->all_can(transport::kVelocityProfilesCapability)) {
        PINION_TRY(const codec::LinkSpeed back, measure_link(Chain::Direction::kFromLast));
        way_back = choose_way_back(plan_, request, back);
      }
      codec::CodecChoice choice = choose_by_trial({plan_, constants_.values, streams(), workers_can()},
                                                  request, link, bases_, way_back);
      choice.choosing_ms = watch.elapsed_ms();
      plan_.auto_codec->choice = std::move(choice);
    }
    take_choice();
    return {};
  }

  Result<codec::LinkSpeed> measure_link(Chain::Direction direction) {
    return on_network<codec::LinkSpeed>(chain_->measure_link(direction));
  }

  WorkersCan workers_can() const {
    return {.take_references = chain_->all_can(transport::kReferencesCapability),
            .take_responses = chain_->all_can(transport::kResponsesCapability),
            .take_maps = chain_->all_can(transport::kMapsCapability)};
  }

  Result<void> check_profile() const {
    if (plan_.velocity_profile && !chain_->all_can(transport::kVelocityProfilesCapability)) {
      return Error{Errc::kUnsupported, "a worker cannot code the velocity otherwise than the states",
                   "leave out --velocity-codec, or install this version of Pinion there too"};
    }
    if (plan_.state_profile.mode != codec::Mode::kCalibrated) return {};
    return check_calibrated(plan_, constants_.values, workers_can());
  }

  codec::StateStreams streams() const {
    const RemoteConstants& values = constants_.values;
    return {.picture = plan_.picture_tensor,
            .picture_rows = values.grid_height * values.grid_width,
            .reference_rows = values.reference_tokens()};
  }

  Result<void> begin_attempt() {
    const codec::Profile returned =
        plan_.velocity_profile.value_or(codec::velocity_profile(plan_.state_profile));
    const bool learns_back = returned.mode == codec::Mode::kFidelity;
    constants_.latent_maps =
        (learns_back || plan_.state_profile.mode == codec::Mode::kFidelity) && workers_can().take_maps;
    std::vector<Bytes> velocity_bases;
    if (learns_back) {
      velocity_bases = bases_.load({plan_.model_hash, plan_.stages.back().begin, "velocity"});
    }
    constants_.velocity_bases = codec::basis_hashes(velocity_bases);
    PINION_TRY(std::vector<std::string> known,
               on_network<std::vector<std::string>>(chain_->begin(constants_)));
    encoder_ =
        std::make_unique<StepEncoder>(StepEncoderSetup{.job = job_,
                                                       .attempt = attempt_,
                                                       .state_profile = plan_.state_profile,
                                                       .streams = streams().for_profile(plan_.state_profile),
                                                       .has_middle_stages = plan_.stages.size() > 1,
                                                       .has_maps = constants_.latent_maps,
                                                       .model_hash = plan_.model_hash,
                                                       .cut = plan_.stages.front().begin,
                                                       .last_cut = plan_.stages.back().begin,
                                                       .grid = constants_.values.token_grid(),
                                                       .calibrations = plan_.calibrations,
                                                       .known_bases = std::move(known),
                                                       .velocity_bases = std::move(velocity_bases)},
                                      bases_);
    return {};
  }

  Result<void> restart() {
    asio::post(io_.context(), [chain = chain_] {
      chain->abandon(Error{Errc::kConnectionLost, "the job starts again", ""});
    });
    ++attempt_;
    encoder_.reset();
    PINION_TRY_VOID(connect());
    return is_codec_known() ? begin_attempt() : Result<void>();
  }

  Result<RemoteStep> try_step(const StepRequest& request) {
    if (encoder_ == nullptr) {
      PINION_TRY_VOID(choose_codec(request));
      PINION_TRY_VOID(begin_attempt());
    }
    const bool may_be_drawn =
        request.noise && attempt_ == 0 &&
        chain_->all_can(std::string(transport::kNoiseCapability) + request.noise->generator);
    PINION_TRY(SentStep sent, encoder_->encode(request, may_be_drawn));
    const Stopwatch round_trip;
    const std::uint64_t sent_us = clock_us();
    // While the workers are at it.
    auto correction = std::async(std::launch::async, [&] { return encoder_->correction(request); });
    PINION_TRY(const ArrivedResult arrived,
               on_network<ArrivedResult>(chain_->step(sent.message, request.step)));
    PINION_TRY(const std::vector<float> errors, correction.get());
    const double round_trip_ms = round_trip.elapsed_ms();
    PINION_TRY(ReceivedStep received, encoder_->decode(arrived.message, errors));
    RemoteStep step;
    step.velocity = received.velocity;
    step.round_trip_ms = round_trip_ms + sent.encode_ms + received.decode_ms;
    step.hops = hops(sent, sent_us, received, arrived);
    return step;
  }

  // What each hop cost, from the trace that the workers wrote and what was seen here.
  std::vector<HopStats> hops(const SentStep& sent, std::uint64_t sent_us, const ReceivedStep& received,
                             const ArrivedResult& arrived) const {
    const std::size_t stages = plan_.stages.size();
    std::vector<transport::TraceHop> trace = received.trace;
    trace.resize(stages + 1);
    std::vector<HopStats> hops(stages + 1);
    for (std::size_t hop = 0; hop <= stages; ++hop) {
      const bool is_first = hop == 0;
      const bool is_last = hop == stages;
      const transport::TraceHop& from = trace[hop];
      HopStats& stats = hops[hop];
      stats.from = is_first ? "client" : reports_[hop - 1].worker;
      stats.to = is_last ? "client" : reports_[hop].worker;
      stats.message_bytes = is_last ? arrived.message.wire_bytes : from.message_bytes;
      stats.encode_ms = is_first ? sent.encode_ms : from.encode_ms;
      stats.decode_ms = is_last ? received.decode_ms : from.decode_ms;
      stats.queue_ms = from.queue_ms;
      stats.compute_ms = from.compute_ms;
      stats.streams = is_first ? sent.streams : std::vector<StreamStats>();
      for (const transport::TraceStream& stream : from.streams) stats.streams.push_back(stream_stats(stream));
      const std::int64_t left =
          is_first ? static_cast<std::int64_t>(sent_us) : chain_->local_us(hop - 1, from.sent_us);
      const std::int64_t came =
          is_last ? static_cast<std::int64_t>(arrived.received_us) : chain_->local_us(hop, from.received_us);
      stats.wire_ms = std::max<double>(0, static_cast<double>(came - left) / 1000);
    }
    return hops;
  }

  IoThread io_;
  RemotePlan plan_;  // the chain refers to it; its profile may be chosen late
  const ConnectOptions options_;
  const transport::Identity identity_;
  const transport::PeerStore peers_{config_folder()};
  const codec::BasisStore bases_{cache_folder() / "bases"};
  const std::string job_;
  int attempt_ = 0;
  EncodedConstants constants_;
  std::unique_ptr<StepEncoder> encoder_;  // of this attempt; null until the workers know the job
  std::vector<StageReport> reports_;
  std::atomic<bool> is_cancelled_ = false;
  std::mutex mutex_;  // guards the pointer, which cancel() reads from any thread
  std::shared_ptr<Chain> chain_;
};

}  // namespace

std::int64_t RemoteConstants::reference_tokens() const {
  std::int64_t tokens = 0;
  for (const auto& [height, width] : references) tokens += height * width;
  return tokens;
}

Result<WorkerAddress> parse_worker_address(std::string_view text) {
  PINION_TRY(const transport::Address address, transport::parse_address(text));
  return WorkerAddress{address.host, address.port};
}

Result<std::unique_ptr<RemoteJob>> RemoteJob::open(const RemotePlan& plan, const ConnectOptions& options) {
  PINION_TRY_VOID(check_plan(plan));
  PINION_TRY(transport::Identity identity, transport::Identity::load_or_create(config_folder()));
  PINION_TRY(std::string id, random_job_id());
  auto job = std::make_unique<NetworkJob>(plan, options, std::move(identity), std::move(id));
  PINION_TRY_VOID(job->connect());
  return std::unique_ptr<RemoteJob>(std::move(job));
}

}  // namespace pinion::client
