#include "pinion/worker/job.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "pinion/base/log.h"
#include "pinion/base/stopwatch.h"
#include "pinion/transport/dial.h"

namespace pinion::worker {
namespace {

using transport::Message;
using transport::Step;

constexpr std::size_t kMaxWaitingSteps = 4;
constexpr std::int64_t kMaxRows = 1 << 24;
constexpr transport::Milliseconds kNextDeadline{4000};

std::int64_t reference_tokens(const transport::BeginJob& begin) {
  std::int64_t tokens = 0;
  for (const auto& [height, width] : begin.references) tokens += height * width;
  return tokens;
}

std::int64_t rows_of(const transport::BeginJob& begin) {
  const std::int64_t tokens = begin.grid_height * begin.grid_width + begin.text_tokens;
  return (tokens + reference_tokens(begin)) * begin.batch;
}

codec::StateStreams streams_of(const transport::BeginJob& begin, const models::ModelInfo& model) {
  return {.picture = model.picture_tensor(),
          .picture_rows = begin.grid_height * begin.grid_width,
          .reference_rows = reference_tokens(begin)};
}

template <class Work>
auto on_pool(asio::thread_pool& pool, Work work) {
  return run_elsewhere([&pool](std::function<void()> job) { asio::post(pool, std::move(job)); },
                       std::function<void()>(std::move(work)));
}

// Runs `work` with its exceptions made errors, and says how long it took.
Result<void> timed(double& elapsed_ms, const std::function<Result<void>()>& work) {
  const Stopwatch watch;
  Result<void> done = guarded<void>(work);
  elapsed_ms = watch.elapsed_ms();
  return done;
}

}  // namespace

std::uint64_t clock_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

Job::Job(const JobServices& services, JobSetup setup)
    : services_(services),
      setup_(std::move(setup)),
      line_(setup_.begin.job + "/" + std::to_string(setup_.begin.stage)),
      something_to_do_(setup_.client->executor()) {}

Result<Tensor> Job::constant(std::optional<std::uint32_t> blob, const Message& message) const {
  if (!blob) return Tensor();
  const models::ModelInfo& info = setup_.stage->info;
  const std::int64_t channels = std::max(info.latent_channels, info.context_channels);
  const auto max_bytes = static_cast<std::size_t>(rows_of(setup_.begin) * channels) * sizeof(float);
  return codec::Decoder::create()->decode(message.blobs[*blob].bytes, {.max_tensor_bytes = max_bytes});
}

Result<models::JobConstants> Job::constants(const Message& message) const {
  const transport::BeginJob& begin = setup_.begin;
  models::JobConstants constants;
  constants.batch = begin.batch;
  constants.grid = {begin.grid_height, begin.grid_width};
  for (const auto& [height, width] : begin.references) constants.references.push_back({height, width});
  constants.text_tokens = begin.text_tokens;
  constants.guidance = begin.guidance;
  PINION_TRY(constants.context, constant(begin.context, message));
  PINION_TRY(constants.reference_latents, constant(begin.reference_latents, message));
  return constants;
}

Result<codec::CalibrationSet> Job::calibrations(const Message& message) const {
  codec::CalibrationSet set;
  for (const transport::CalibrationPart& part : setup_.begin.calibrations) {
    // Beside the bases of that place, not among them.
    const codec::BasisPlace place{setup_.stage->model_hash, part.cut, part.stream + "/calibration"};
    const std::string what = "the calibration of \"" + part.stream + "\" at cut " + std::to_string(part.cut);
    Bytes asset;
    if (part.asset) {
      const ByteSpan sent = message.blobs[*part.asset].bytes;
      asset.assign(sent.begin(), sent.end());
    } else {
      for (Bytes& kept : services_.bases.load(place, codec::AssetKind::kBasis)) {
        if (codec::basis_hash(kept) == part.id) asset = std::move(kept);
      }
      if (asset.empty()) return Error{Errc::kNotFound, what + " is not here yet", ""};
    }
    Result<void> added = set.add(asset);
    if (!added.ok()) return std::move(added).error().in(what);
    const codec::CalibrationSet::Entry* entry = set.find(part.cut, part.stream);
    if (entry == nullptr || codec::calibration_id(*entry->calibration) != part.id ||
        to_hex(entry->calibration->key.model) != setup_.stage->model_hash) {
      return Error{Errc::kModelMismatch, what + " is another one than it says, or of another model", ""};
    }
    if (part.asset) services_.bases.keep(place, asset, codec::AssetKind::kBasis);
  }
  return set;
}

// The profile of the velocity, if the job has one of its own.
Result<std::optional<codec::Profile>> Job::velocity_profile(const codec::Profile& states) const {
  const std::optional<std::string>& text = setup_.begin.velocity_profile;
  if (!text) return std::optional<codec::Profile>();
  PINION_TRY(const codec::Profile profile, codec::parse_profile(*text));
  if (profile.mode == codec::Mode::kCalibrated || states.mode == codec::Mode::kCalibrated) {
    return Error{Errc::kProtocol, "begin_job has a velocity_profile beside calibrated states, or such a one",
                 ""};
  }
  return std::optional(profile);
}

StageCodecSetup Job::codec_setup(const codec::Profile& profile) const {
  const transport::BeginJob& begin = setup_.begin;
  const models::Stage& stage = *setup_.stage->stage;
  return {.state = setup_.stage->info.state,
          .latent_channels = setup_.stage->info.latent_channels,
          .batch = begin.batch,
          .grid = {begin.grid_height, begin.grid_width},
          .rows = rows_of(begin),
          .dtype = stage.options().dtype,
          .profile = profile,
          .velocity_profile = {},
          .streams = streams_of(begin, setup_.stage->info).for_profile(profile),
          .model_hash = setup_.stage->model_hash,
          .blocks = stage.range(),
          .calibrations = {},
          .noise = services_.backend.noise,
          .velocity_bases = begin.velocity_bases,
          .has_maps = begin.latent_maps,
          .stage = begin.stage,
          .stages = begin.stages};
}

asio::awaitable<Result<void>> Job::open(const Message& message) {
  const auto self = shared_from_this();
  const transport::BeginJob& begin = setup_.begin;
  const models::BlockRange range = setup_.stage->stage->range();
  const bool ends_model = range.end == static_cast<int>(setup_.stage->info.blocks.size());
  if (begin.stage >= begin.stages || ends_model != (begin.stage + 1 == begin.stages) ||
      begin.next.has_value() == ends_model || begin.upstream.has_value() != (begin.stage > 0) ||
      (range.begin == 0 && begin.stage > 0)) {
    co_return Error{Errc::kProtocol, "begin_job describes a chain that this stage does not fit into", ""};
  }
  if (rows_of(begin) > kMaxRows) co_return Error{Errc::kTooLarge, "the job has too many tokens", ""};
  PINION_CO_TRY(const codec::Profile profile, codec::parse_profile(begin.profile));
  PINION_CO_TRY(const std::optional<codec::Profile> of_velocity, velocity_profile(profile));

  std::optional<Result<models::JobConstants>> read;
  co_await on_pool(services_.codec_threads, [&] {
    read = guarded<models::JobConstants>([&]() -> Result<models::JobConstants> {
      StageCodecSetup codec_settings = codec_setup(profile);
      codec_settings.velocity_profile = of_velocity;
      PINION_TRY(codec_settings.calibrations, calibrations(message));
      codec_ = std::make_unique<StageCodec>(std::move(codec_settings), services_.bases);
      known_bases_ = codec_->load_bases();
      return constants(message);
    });
  });
  if (!read->ok()) co_return std::move(*read).error();
  std::optional<Result<std::unique_ptr<models::StageJob>>> begun;
  const auto submit = [this](std::function<void()> work) {
    services_.compute.submit(line_, std::move(work));
  };
  std::function<void()> work = [&] {
    begun = guarded<std::unique_ptr<models::StageJob>>(
        [&] { return setup_.stage->stage->begin_job(std::move(*read).value()); });
  };
  co_await run_elsewhere(submit, std::move(work));
  if (!begun->ok()) co_return std::move(*begun).error();
  stage_job_ = std::move(*begun).value();
  if (begin.next && !has_ended_) PINION_CO_TRY_VOID(co_await join_next());
  if (has_ended_) {
    free_stage_job();
    co_return Error{Errc::kCancelled, "the job was ended while it began", ""};
  }
  asio::co_spawn(
      setup_.client->executor(), [self] { return self->run(); }, asio::detached);
  co_return Result<void>();
}

asio::awaitable<Result<void>> Job::join_next() {
  const transport::NextHop& next = *setup_.begin.next;
  const transport::Address address{next.host, next.port};
  const std::string who = "next stage at " + to_string(address);
  transport::DialOptions dial_options{
      .address = address, .deadline = kNextDeadline, .accept = nullptr, .is_plain = next.fingerprint.empty()};
  dial_options.accept = [&](const transport::Fingerprint& shown) -> Result<void> {
    if (to_hex(shown) == next.fingerprint) return {};
    return Error{Errc::kCertificate, to_string(address) + " shows another certificate than to the client",
                 "check that the address means the same machine on both"};
  };
  Result<transport::ConnectionPtr> connection = co_await transport::dial(services_.identity, dial_options);
  if (!connection.ok()) co_return std::move(connection).error().in(who);
  const std::weak_ptr<Job> weak = weak_from_this();
  next_ = std::make_shared<transport::Caller>(std::move(connection).value(),
                                              [weak, who](Result<Message> message) {
                                                const auto job = weak.lock();
                                                if (message.ok() || !job || job->has_ended_) return;
                                                job->report(std::move(message).error().in(who), nullptr);
                                                job->end();
                                              });
  next_->start();
  const transport::HelloOptions hello{.deadline = kNextDeadline, .must_be_paired = false};
  const Result<transport::HelloReply> greeted = co_await transport::say_hello(next_, hello);
  if (!greeted.ok()) co_return Error(greeted.error()).in(who);
  transport::JoinJob join;
  join.job = setup_.begin.job;
  join.stage = setup_.begin.stage + 1;
  const Result<transport::Joined> joined = co_await next_->ask<transport::Joined>(join, kNextDeadline);
  if (!joined.ok()) co_return Error(joined.error()).in(who);
  codec_->next_stage_holds(joined->bases);
  co_return Result<void>();
}

Result<void> Job::take(Step step, Message message) {
  if (has_ended_ || step.attempt != setup_.begin.attempt || !seen_.insert(step.step).second) return {};
  if (waiting_.size() >= kMaxWaitingSteps) return Error{Errc::kBusy, "too many steps of this job wait", ""};
  waiting_.push_back({std::move(step), std::move(message), clock_us()});
  something_to_do_.cancel();
  return {};
}

void Job::end() {
  if (has_ended_) return;
  has_ended_ = true;
  waiting_.clear();
  something_to_do_.cancel();
  if (next_) next_->close();
  free_stage_job();
  if (const auto on_end = std::exchange(on_end_, nullptr)) on_end();
}

void Job::free_stage_job() {
  services_.compute.submit(line_, [stage_job = std::exchange(stage_job_, nullptr), stage = setup_.stage] {});
}

asio::awaitable<void> Job::run() {
  while (!has_ended_) {
    if (waiting_.empty()) {
      something_to_do_.expires_after(services_.idle_limit);
      const auto [cancelled] = co_await something_to_do_.async_wait(transport::kAsTuple);
      if (!cancelled && waiting_.empty() && !has_ended_) {
        report(Error{Errc::kNotFound, "no step came for a long time, so the job was dropped", ""}, nullptr);
        end();
      }
      continue;
    }
    const Waiting waiting = std::move(waiting_.front());
    waiting_.pop_front();
    const Result<void> advanced = co_await advance(waiting);
    if (advanced.ok() || has_ended_) continue;
    report(advanced.error(), &waiting.step);
    end();
  }
}

asio::awaitable<Result<void>> Job::advance(const Waiting& waiting) {
  Work work;
  Result<void> done;
  co_await on_pool(services_.codec_threads, [&] {
    done = timed(work.arrival.decode_ms, [&]() -> Result<void> {
      PINION_TRY(work.input, codec_->decode(waiting.step, waiting.message));
      return {};
    });
  });
  if (!done.ok() || has_ended_) co_return done;

  const Stopwatch queued;
  const auto submit = [this](std::function<void()> job) { services_.compute.submit(line_, std::move(job)); };
  std::function<void()> on_device = [&, stage_job = stage_job_] {
    work.arrival.queue_ms = queued.elapsed_ms();
    if (!has_ended_) done = timed(work.arrival.compute_ms, [&] { return compute(work, *stage_job); });
  };
  co_await run_elsewhere(submit, std::move(on_device));
  if (!done.ok() || has_ended_) co_return done;

  co_await on_pool(services_.codec_threads, [&] {
    done = timed(work.departure.encode_ms, [&]() -> Result<void> {
      PINION_TRY(work.onward, codec_->encode(waiting.step, waiting.message, work.output, work.departure));
      return {};
    });
  });
  if (!done.ok() || has_ended_) co_return done;
  co_return pass_on(waiting, work);
}

Result<void> Job::compute(Work& work, models::StageJob& stage_job) const {
  PINION_TRY(work.output, stage_job.step(work.input));
  for (NamedTensor& entry : work.output) {
    PINION_TRY(entry.tensor, services_.backend.to_cpu(entry.tensor));
  }
  return {};
}

Result<void> Job::pass_on(const Waiting& waiting, Work& work) {
  std::vector<transport::TraceHop> trace = waiting.step.trace;
  if (trace.empty()) trace.emplace_back();
  transport::TraceHop& arrival = trace.back();
  arrival.message_bytes = waiting.message.wire_bytes;
  arrival.received_us = waiting.received_us;
  arrival.decode_ms = work.arrival.decode_ms;
  arrival.queue_ms = work.arrival.queue_ms;
  arrival.compute_ms = work.arrival.compute_ms;
  work.departure.sent_us = clock_us();
  trace.push_back(std::move(work.departure));
  transport::FieldWriter(work.onward.header).maps("trace", trace, {});
  Result<void> sent = next_ ? next_->send(work.onward) : setup_.client->send(work.onward);
  return sent;
}

void Job::report(const Error& error, const Step* step) {
  spdlog::warn("job {} stage {}: {}", setup_.begin.job.substr(0, 8), setup_.begin.stage, error.message());
  transport::ErrorMessage message = transport::ErrorMessage::of(error);
  message.job = setup_.begin.job;
  message.stage = setup_.begin.stage;
  message.attempt = setup_.begin.attempt;
  if (step != nullptr) message.step = step->step;
  const Result<void> sent = setup_.client->send(transport::make_message(message));
  if (!sent.ok()) spdlog::debug("the client is not there to hear it: {}", sent.error().text);
}

}  // namespace pinion::worker
