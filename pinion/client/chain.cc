#include "pinion/client/chain.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>

#include "pinion/transport/as_tuple.h"
#include "pinion/transport/dial.h"
#include "pinion/transport/probe_content.h"

namespace pinion::client {
namespace {

using transport::Message;

constexpr transport::Milliseconds kEndDeadline{5000};
constexpr transport::Milliseconds kGoodbye{1000};
constexpr int kClockPings = 3;

// A link is measured with messages that grow until one takes long enough to be timed well.
constexpr std::size_t kFirstProbeBytes = std::size_t{32} << 10;
constexpr std::size_t kLastProbeBytes = transport::kMostProbeBytes;
constexpr std::int64_t kProbeUs = 20'000;

struct UsedCalibration {
  int cut;
  std::string stream;
  const codec::CalibrationSet::Entry* entry;
};

// What a stage codes with: the states that enter and leave it, and the velocity, which every stage gets to
// know.
std::vector<UsedCalibration> calibrations_of(const RemotePlan& plan, std::size_t stage) {
  std::vector<UsedCalibration> used;
  if (plan.state_profile.mode != codec::Mode::kCalibrated) return used;
  const bool is_last = stage + 1 == plan.stages.size();
  plan.calibrations.for_each([&](int cut, const std::string& stream, const auto& entry) {
    const bool is_needed =
        stream == "velocity" ? cut == plan.stages.back().begin
                             : cut == plan.stages[stage].begin || (!is_last && cut == plan.stages[stage].end);
    if (is_needed) used.push_back({cut, stream, &entry});
  });
  return used;
}

}  // namespace

std::uint64_t clock_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

Error Chain::at(std::size_t stage, Error error) const {
  const std::string worker = to_string(links_[stage].address);
  if (error.text.find(worker) != std::string::npos) return error;
  const RemoteStage& blocks = setup_.plan.stages[stage];
  return std::move(error).in("worker " + worker + ", blocks " + std::to_string(blocks.begin) + " to " +
                             std::to_string(blocks.end - 1));
}

void Chain::fail(const Error& why) {
  if (!broken_) broken_ = why;
  if (arrival_) arrival_->cancel();
}

asio::awaitable<Result<void>> Chain::open() {
  const auto self = shared_from_this();
  const auto executor = co_await asio::this_coro::executor;
  for (const RemoteStage& stage : setup_.plan.stages) {
    Link& link = links_.emplace_back();
    link.address = {stage.worker.host, stage.worker.port};
  }
  reports_.resize(links_.size());
  // The first error ends the wait: the others may still be loading.
  const auto finished = std::make_shared<asio::steady_timer>(executor, asio::steady_timer::time_point::max());
  std::size_t open_links = 0;
  for (std::size_t stage = 0; stage < links_.size(); ++stage) {
    asio::co_spawn(
        executor, open_link(stage),
        [self, finished, stage, &open_links](const std::exception_ptr& failure, Result<void> opened) {
          if (failure) opened = Error{Errc::kInternal, "connecting failed", ""};
          if (self->broken_) return;
          if (opened.ok() && ++open_links < self->links_.size()) return;
          if (!opened.ok()) self->fail(self->at(stage, std::move(opened).error()));
          finished->cancel();
        });
  }
  while (!broken_ && open_links < links_.size()) co_await finished->async_wait(transport::kAsTuple);
  if (broken_) {
    const Error why = *broken_;
    abandon(why);
    co_return why;
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> Chain::open_link(std::size_t stage) {
  const auto self = shared_from_this();
  const ConnectOptions& options = setup_.options;
  Link& link = links_[stage];
  transport::DialOptions dial{.address = link.address,
                              .deadline = options.connect_deadline,
                              .accept = nullptr,
                              .is_plain = options.insecure_loopback};
  dial.accept = [this, &link](const transport::Fingerprint& shown) {
    return setup_.peers.check_worker(link.address, shown);
  };
  PINION_CO_TRY(transport::ConnectionPtr connection, co_await transport::dial(setup_.identity, dial));
  if (connection->peer().fingerprint) link.fingerprint = to_hex(*connection->peer().fingerprint);
  const std::weak_ptr<Chain> weak = weak_from_this();
  link.caller =
      std::make_shared<transport::Caller>(std::move(connection), [weak, stage](Result<Message> message) {
        if (const auto chain = weak.lock()) chain->receive(stage, std::move(message));
      });
  link.caller->start();
  const transport::HelloOptions hello{.deadline = options.connect_deadline, .must_be_paired = true};
  PINION_CO_TRY(transport::HelloReply greeted, co_await transport::say_hello(link.caller, hello));
  link.capabilities = std::move(greeted.capabilities);
  PINION_CO_TRY_VOID(co_await compare_clocks(link));

  const RemotePlan& plan = setup_.plan;
  transport::OpenStage request;
  request.model_hash = plan.model_hash;
  request.model_label = plan.model_label;
  request.begin = plan.stages[stage].begin;
  request.end = plan.stages[stage].end;
  request.dtype = plan.dtype;
  PINION_CO_TRY(const transport::Ready ready,
                co_await link.caller->ask<transport::Ready>(request, options.open_deadline));
  link.handle = ready.handle;
  reports_[stage] = {to_string(link.address), ready.device, ready.weight_bytes, ready.load_ms};
  co_return Result<void>();
}

bool Chain::all_can(std::string_view capability) const {
  return std::ranges::all_of(links_, [&](const Link& link) {
    return std::ranges::find(link.capabilities, capability) != link.capabilities.end();
  });
}

// The offset is best known from the fastest of a few round trips.
asio::awaitable<Result<void>> Chain::compare_clocks(Link& link) {
  std::int64_t best_round_trip = std::numeric_limits<std::int64_t>::max();
  for (int i = 0; i < kClockPings; ++i) {
    const auto sent = static_cast<std::int64_t>(clock_us());
    PINION_CO_TRY(const transport::Pong pong, co_await link.caller->ask<transport::Pong>(
                                                  transport::Ping(), setup_.options.connect_deadline));
    const auto received = static_cast<std::int64_t>(clock_us());
    if (received - sent >= best_round_trip) continue;
    best_round_trip = received - sent;
    link.round_trip_us = best_round_trip;
    link.clock_offset_us = static_cast<std::int64_t>(pong.clock_us) - (sent + received) / 2;
  }
  co_return Result<void>();
}

asio::awaitable<Result<codec::LinkSpeed>> Chain::measure_link(Direction direction) {
  const auto self = shared_from_this();
  const std::size_t stage = direction == Direction::kToFirst ? 0 : links_.size() - 1;
  const Link& link = links_[stage];
  codec::LinkSpeed speed{.bytes_per_s = 0, .round_trip_ms = static_cast<double>(link.round_trip_us) / 1000};
  for (std::size_t size = kFirstProbeBytes; size <= kLastProbeBytes; size *= 4) {
    if (broken_) co_return *broken_;
    transport::Ping ping;
    if (direction == Direction::kFromLast) ping.reply_bytes = static_cast<std::uint32_t>(size);
    Message probe = transport::make_message(ping);
    if (direction == Direction::kToFirst) probe.blobs.push_back(transport::probe_content(size));
    const auto sent = static_cast<std::int64_t>(clock_us());
    const Result<Message> pong =
        co_await link.caller->request(std::move(probe), setup_.options.open_deadline);
    const auto took_us = static_cast<std::int64_t>(clock_us()) - sent - link.round_trip_us;
    const bool is_too_large = !pong.ok() && pong.error().code == Errc::kTooLarge;
    if (is_too_large && speed.bytes_per_s > 0) break;
    if (!pong.ok()) co_return at(stage, pong.error());
    speed.bytes_per_s =
        1e6 * static_cast<double>(size) / static_cast<double>(std::max<std::int64_t>(took_us, 1));
    if (took_us >= kProbeUs) break;
  }
  co_return speed;
}

Message Chain::begin_message(std::size_t stage, const EncodedConstants& constants, bool with_assets) const {
  const RemoteConstants& values = constants.values;
  const bool is_last = stage + 1 == links_.size();
  transport::BeginJob begin;
  begin.job = setup_.job;
  begin.stage = static_cast<int>(stage);
  begin.stages = static_cast<int>(links_.size());
  begin.attempt = setup_.attempt;
  begin.handle = links_[stage].handle;
  begin.profile = codec::to_string(setup_.plan.state_profile);
  if (setup_.plan.velocity_profile) begin.velocity_profile = codec::to_string(*setup_.plan.velocity_profile);
  begin.batch = values.batch;
  begin.grid_height = values.grid_height;
  begin.grid_width = values.grid_width;
  begin.references = values.references;
  begin.text_tokens = values.text_tokens;
  begin.guidance = values.guidance;
  if (links_.size() == 1) begin.velocity_bases = constants.velocity_bases;
  begin.latent_maps = constants.latent_maps;
  if (!is_last) {
    const Link& next = links_[stage + 1];
    begin.next = transport::NextHop{next.address.host, next.address.port, next.fingerprint};
  }
  if (stage > 0) begin.upstream = transport::Upstream{links_[stage - 1].fingerprint};
  std::vector<transport::Blob> blobs;
  const auto add = [&](const std::optional<transport::Blob>& blob) -> std::optional<std::uint32_t> {
    if (!blob) return std::nullopt;
    blobs.push_back(*blob);
    return static_cast<std::uint32_t>(blobs.size() - 1);
  };
  for (const auto& [cut, stream, entry] : calibrations_of(setup_.plan, stage)) {
    std::optional<transport::Blob> asset;
    if (with_assets) asset = transport::Blob{entry->asset, *entry->asset};
    begin.calibrations.push_back({cut, stream, codec::calibration_id(*entry->calibration), add(asset)});
  }
  if (setup_.plan.stages[stage].begin == 0) {
    begin.context = add(constants.context);
    begin.reference_latents = add(constants.reference_latents);
  }
  Message message = transport::make_message(std::move(begin));
  message.blobs = std::move(blobs);
  return message;
}

asio::awaitable<Result<std::vector<std::string>>> Chain::begin(const EncodedConstants& constants) {
  const auto self = shared_from_this();
  transport::JobReady ready;
  for (std::size_t stage = links_.size(); stage-- > 0;) {
    if (broken_) co_return *broken_;
    const auto ask = [&](bool with_assets) {
      return links_[stage].caller->request(begin_message(stage, constants, with_assets),
                                           setup_.options.open_deadline);
    };
    Result<Message> reply = co_await ask(false);
    const bool lacks_calibration = !reply.ok() && reply.error().code == Errc::kNotFound &&
                                   setup_.plan.state_profile.mode == codec::Mode::kCalibrated;
    if (lacks_calibration) reply = co_await ask(true);
    if (!reply.ok()) co_return at(stage, reply.error());
    if (reply->type() != transport::JobReady::kType) {
      co_return at(stage, Error{Errc::kProtocol, "unexpected answer to begin_job", ""});
    }
    Result<transport::JobReady> read = transport::read_header<transport::JobReady>(*reply);
    if (!read.ok()) co_return at(stage, read.error());
    ready = std::move(read).value();
  }
  co_return std::move(ready.bases);  // the first stage answers last
}

asio::awaitable<Result<ArrivedResult>> Chain::step(const Message& message, int step) {
  const auto self = shared_from_this();
  if (broken_) co_return *broken_;
  awaited_step_ = step;
  arrived_.reset();
  const Result<void> sent = links_.front().caller->send(message);
  if (!sent.ok()) co_return at(0, sent.error());
  arrival_ =
      std::make_shared<asio::steady_timer>(co_await asio::this_coro::executor, setup_.options.step_deadline);
  co_await arrival_->async_wait(transport::kAsTuple);
  awaited_step_ = -1;
  if (arrived_) co_return std::move(*arrived_);
  if (broken_) co_return *broken_;
  co_return Error{Errc::kTimeout,
                  "step " + std::to_string(step) + " took more than " +
                      std::to_string(setup_.options.step_deadline.count() / 1000) + " s",
                  "use a smaller picture, faster workers, or a longer deadline"};
}

void Chain::receive(std::size_t stage, Result<Message> message) {
  if (!message.ok()) return fail(at(stage, std::move(message).error()));
  if (message->type() == transport::StepResult::kType && stage + 1 == links_.size())
    return take_result(*message);
  if (message->type() != transport::ErrorMessage::kType) return;  // a newer worker may say more than we know
  const Result<transport::ErrorMessage> error = transport::read_header<transport::ErrorMessage>(*message);
  if (!error.ok()) return fail(at(stage, error.error()));
  const bool is_outdated =
      (error->job && *error->job != setup_.job) || (error->attempt && *error->attempt != setup_.attempt);
  if (!is_outdated) fail(at(stage, error->to_error()));
}

void Chain::take_result(const Message& message) {
  const auto number = [&](const char* key) {
    const auto field = message.header.find(key);
    return field != message.header.end() && field->is_number_unsigned() ? field->get<std::int64_t>() : -1;
  };
  if (awaited_step_ < 0 || number("step") != awaited_step_ || number("attempt") != setup_.attempt) return;
  arrived_ = ArrivedResult{message, clock_us()};
  arrival_->cancel();
}

asio::awaitable<Result<void>> Chain::end() {
  const auto self = shared_from_this();
  transport::EndJob request;
  request.job = setup_.job;
  Result<void> done;
  for (std::size_t stage = 0; stage < links_.size(); ++stage) {
    const auto ended = co_await links_[stage].caller->ask<transport::JobEnded>(request, kEndDeadline);
    if (!ended.ok() && done.ok()) done = at(stage, ended.error());
  }
  for (const Link& link : links_) co_await link.caller->connection()->finish(kGoodbye);
  co_return done;
}

void Chain::abandon(const Error& why) {
  fail(why);
  transport::Cancel cancel;
  cancel.job = setup_.job;
  for (const Link& link : links_) {
    if (!link.caller) continue;
    link.caller->fail_requests(why);
    static_cast<void>(link.caller->send(transport::make_message(cancel)));
    link.caller->close();
  }
}

}  // namespace pinion::client
