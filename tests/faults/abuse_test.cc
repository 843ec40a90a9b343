// What a worker does with peers that break the rules of docs/protocol.md: one clear answer to them, and no
// harm to anybody else.

#include <gmock/gmock.h>

#include <cstdlib>
#include <random>

#include "pinion/base/stopwatch.h"
#include "pinion/client/pairing.h"
#include "tests/faults/raw_peer.h"
#include "tests/faults/toy_job.h"
#include "tests/faults/worker_in_process.h"

namespace pinion::test {
namespace {

using testing::HasSubstr;
using transport::Json;
using transport::make_message;
using transport::Message;

Message bare(const std::string& type) {
  Message message;
  message.header["type"] = type;
  return message;
}

class Abuse : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("PINION_CONFIG_DIR", fresh_folder("client").c_str(), 1);
    ::setenv("PINION_CACHE_DIR", fresh_folder("client_cache").c_str(), 1);
    const std::filesystem::path models = fresh_folder("models");
    model_ = models / "six.toy";
    write_toy_model(model_, 6, 0, "a");
    worker_ = std::make_unique<WorkerInProcess>(models, fresh_folder("worker"), [](auto& options) {
      options.limits.max_message_bytes = 1 << 20;
      options.limits.max_jobs_per_client = 2;
    });
    ASSERT_TRUE(client::pair_with(worker_->pairing_line(), std::getenv("PINION_CONFIG_DIR")).ok());
  }

  // The worker still does what it is for.
  void TearDown() override {
    const Result<ToyJobOutcome> outcome =
        run_toy_job({.model = model_, .cut = 1, .stages = {{worker_->address(), 6}}, .steps = 2});
    EXPECT_TRUE(outcome.ok()) << outcome.error().message();
  }

  transport::Identity paired() const {
    return transport::Identity::load_or_create(std::getenv("PINION_CONFIG_DIR")).value();
  }
  static transport::Identity stranger() { return transport::Identity::create().value(); }

  // A paired peer that has said hello.
  std::unique_ptr<RawPeer> friend_of_worker() const {
    auto peer = std::make_unique<RawPeer>(worker_->address(), paired());
    EXPECT_TRUE(peer->hello());
    return peer;
  }

  // Opens all six blocks and returns the handle.
  std::uint32_t open_stage(RawPeer& peer) const {
    transport::OpenStage open;
    open.model_hash = toy_backend().open(model_).value()->content_hash().value();
    open.end = 6;
    open.dtype = "F32";
    const Result<Message> reply = peer.ask(make_message(open));
    EXPECT_EQ(reply->type(), "ready") << reply->header.dump();
    return transport::read_header<transport::Ready>(*reply)->handle;
  }

  // A begin_job that would be accepted.
  Message begin_job(std::uint32_t handle, char job = 'a') const {
    transport::BeginJob begin;
    begin.job = std::string(32, job);
    begin.handle = handle;
    begin.profile = "raw";
    begin.grid_height = begin.grid_width = 2;
    begin.text_tokens = 1;
    begin.context = 0;
    Message message = make_message(begin);
    const Tensor context = Tensor::from_floats(std::vector<float>(4), {1, 1, kToyContextChannels});
    message.add(transport::Blob::of(
        codec::Encoder::create({.mode = codec::Mode::kLossless}).value()->encode(context).value().frame));
    return message;
  }

  std::filesystem::path model_;
  std::unique_ptr<WorkerInProcess> worker_;
};

TEST_F(Abuse, GarbageBytesCloseOnlyTheirConnection) {
  std::mt19937 generator(1);
  std::string noise(4096, '\0');
  for (char& c : noise) c = static_cast<char>(generator());
  noise[0] = 'x';
  EXPECT_EQ(send_bytes(worker_->address(), noise, false), "");
  noise[0] = 0x16;  // as a TLS handshake begins
  noise[1] = 0x03;
  EXPECT_TRUE(send_bytes(worker_->address(), noise, false).has_value());
  EXPECT_TRUE(send_bytes(worker_->address(), noise, true).has_value());
}

TEST_F(Abuse, HttpGetsAShortAnswer) {
  const std::string tail = " HTTP/1.1\r\nHost: x\r\n\r\n";
  EXPECT_THAT(send_bytes(worker_->address(), "GET /" + tail, true).value_or(""),
              testing::AllOf(HasSubstr("200 OK"), HasSubstr("pinion pair")));
  EXPECT_THAT(send_bytes(worker_->address(), "GET /secret" + tail, true).value_or(""), HasSubstr("404"));
  EXPECT_THAT(send_bytes(worker_->address(), "POST /" + tail, true).value_or(""), HasSubstr("404"));
  EXPECT_THAT(send_bytes(worker_->address(), "GET /" + tail, false).value_or(""), HasSubstr("TLS only"));
  const std::string long_header = "GET / HTTP/1.1\r\nx: " + std::string(20'000, 'y') + "\r\n\r\n";
  EXPECT_EQ(send_bytes(worker_->address(), long_header, true), "");
}

TEST_F(Abuse, ASilentConnectionIsClosed) {
  std::vector<std::thread> threads;
  for (const bool through_tls : {false, true}) {
    threads.emplace_back(
        [&, through_tls] { EXPECT_TRUE(send_bytes(worker_->address(), "", through_tls).has_value()); });
  }
  RawPeer silent(worker_->address(), stranger());
  const Stopwatch watch;
  const Error error = silent.receive_error();
  EXPECT_NE(error.code, Errc::kInternal);
  EXPECT_LT(watch.elapsed_ms(), 6000);
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Abuse, HelloMustComeFirst) {
  RawPeer peer(worker_->address(), paired());
  peer.send(bare("open_stage"));
  const Error error = peer.receive_error();
  EXPECT_EQ(error.code, Errc::kProtocol);
  EXPECT_THAT(error.text, HasSubstr("\"open_stage\" came before hello"));
  EXPECT_TRUE(peer.is_closed());
}

TEST_F(Abuse, AnotherVersionIsRefusedNamingBoth) {
  RawPeer peer(worker_->address(), paired());
  transport::Hello hello;
  hello.protocol_min = 7;
  hello.protocol_max = 9;
  hello.software = "pinion 9.9";
  peer.send(make_message(hello));
  const Error error = peer.receive_error();
  EXPECT_EQ(error.code, Errc::kVersionMismatch);
  EXPECT_THAT(error.text,
              testing::AllOf(HasSubstr("protocol 1 to 1"), HasSubstr("pinion 9.9"), HasSubstr("7 to 9")));
  EXPECT_TRUE(peer.is_closed());
}

TEST_F(Abuse, AStrangerIsToldToPairAndNothingElse) {
  RawPeer peer(worker_->address(), stranger());
  transport::Hello hello;
  hello.software = "x";
  const Result<Message> reply = peer.ask(make_message(hello));
  const Result<transport::HelloReply> read = transport::read_header<transport::HelloReply>(*reply);
  ASSERT_TRUE(read.ok());
  EXPECT_FALSE(read->paired);
  EXPECT_EQ(read->device, "");
  Message ping = bare("ping");
  ping.header["reply_bytes"] = 1000;
  EXPECT_EQ(peer.ask(ping)->header.value("code", ""), "not_paired");
  peer.send(bare("open_stage"));
  const Error error = peer.receive_error();
  EXPECT_EQ(error.code, Errc::kNotPaired);
  EXPECT_THAT(error.hint, HasSubstr("pinion pair"));
  EXPECT_TRUE(peer.is_closed());
}

TEST_F(Abuse, AnUnknownMessageIsNamedAndTheConnectionGoesOn) {
  const auto peer = friend_of_worker();
  const Result<Message> reply = peer->ask(bare("explode"));
  const Result<transport::ErrorMessage> error = transport::read_header<transport::ErrorMessage>(*reply);
  ASSERT_TRUE(error.ok());
  EXPECT_EQ(error->code, "protocol");
  EXPECT_THAT(error->text, HasSubstr("\"explode\""));
  EXPECT_TRUE(error->reply_to.has_value());
  EXPECT_EQ(peer->ask(bare("ping"))->type(), "pong");
}

TEST_F(Abuse, APongCarriesWhatWasAskedForAndNoMore) {
  const auto peer = friend_of_worker();
  const auto ask = [&](const Json& bytes) {
    Message ping = bare("ping");
    ping.header["reply_bytes"] = bytes;
    return peer->ask(ping);
  };
  for (const std::size_t size : {std::size_t{0}, std::size_t{1000}, transport::kMostProbeBytes}) {
    const Result<Message> pong = ask(size);
    ASSERT_TRUE(pong.ok()) << pong.error().text;
    EXPECT_EQ(pong->type(), "pong");
    EXPECT_EQ(pong->blobs.at(0).bytes.size(), size);
  }
  for (const Json& wrong : {Json(transport::kMostProbeBytes + 1), Json(-1), Json("all")}) {
    EXPECT_EQ(ask(wrong)->header.value("code", ""), "protocol") << wrong;
  }
}

TEST_F(Abuse, AMessageOverTheLimitIsRefused) {
  Message big = bare("hello");
  big.add(transport::Blob::of(Bytes(100'000)));
  RawPeer before(worker_->address(), paired());
  before.send(big);
  EXPECT_EQ(before.receive_error().code, Errc::kTooLarge);

  big.blobs = {transport::Blob::of(Bytes(2 << 20))};
  const auto after = friend_of_worker();
  after->send(big);
  EXPECT_EQ(after->receive_error().code, Errc::kTooLarge);
}

TEST_F(Abuse, TheClientSeesTheLimitItself) {
  const Result<ToyJobOutcome> outcome =
      run_toy_job({.model = model_, .cut = 1, .stages = {{worker_->address(), 6}}, .grid = 160});
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, Errc::kTooLarge);
  EXPECT_THAT(outcome.error().text, testing::AllOf(HasSubstr("1048576"), HasSubstr(worker_->address())));
}

TEST_F(Abuse, ABrokenHeaderClosesTheConnection) {
  const auto peer = friend_of_worker();
  Message message = bare("step");
  message.header["blobs"] = Json::array({5});  // and no blob follows
  peer->send(message);
  EXPECT_EQ(peer->receive_error().code, Errc::kProtocol);
  EXPECT_TRUE(peer->is_closed());
}

TEST_F(Abuse, AFieldOutOfBoundsIsNamed) {
  const auto peer = friend_of_worker();
  const std::uint32_t handle = open_stage(*peer);
  const std::vector<std::pair<std::string, Json>> cases{{"batch", 0},
                                                        {"batch", 65},
                                                        {"grid_height", 5000},
                                                        {"stage", -1},
                                                        {"job", "short"},
                                                        {"attempt", "one"},
                                                        {"context", 7},
                                                        {"references", Json::array({1})},
                                                        {"next", Json(true)},
                                                        {"guidance", "lots"},
                                                        {"guidance", Json::array({nullptr})}};
  for (const auto& [field, value] : cases) {
    Message message = begin_job(handle);
    message.header[field] = value;
    const Result<Message> reply = peer->ask(message);
    ASSERT_TRUE(reply.ok()) << field;
    const Result<transport::ErrorMessage> error = transport::read_header<transport::ErrorMessage>(*reply);
    ASSERT_TRUE(error.ok()) << reply->header.dump();
    EXPECT_EQ(error->code, "protocol");
    EXPECT_THAT(error->text, HasSubstr(field));
  }
  EXPECT_EQ(peer->ask(begin_job(handle))->type(), "job_ready");
}

TEST_F(Abuse, AJobMustFitItsStage) {
  const auto peer = friend_of_worker();
  const std::uint32_t handle = open_stage(*peer);
  const auto code_of = [&](const char* field, const Json& value) {
    Message message = begin_job(handle);
    message.header[field] = value;
    const Result<Message> reply = peer->ask(message);
    return reply.ok() ? reply->header.value("code", std::string(reply->type())) : reply.error().text;
  };
  EXPECT_EQ(code_of("handle", handle + 1), "not_found");
  EXPECT_EQ(code_of("stages", 2), "protocol");  // it ends the model, so nothing can come after
  EXPECT_EQ(code_of("stage", 1), "protocol");
  EXPECT_EQ(code_of("upstream", Json{{"fingerprint", ""}}), "protocol");
  EXPECT_EQ(code_of("profile", "magic"), "invalid_argument");
  EXPECT_EQ(code_of("velocity_profile", "magic"), "invalid_argument");
  EXPECT_EQ(code_of("velocity_profile", ""), "protocol");
  EXPECT_EQ(code_of("velocity_profile", "calibrated:30"), "protocol");
  EXPECT_EQ(code_of("text_tokens", 1), "job_ready");
}

TEST_F(Abuse, AStepThatDoesNotFitEndsItsJobOnly) {
  const auto peer = friend_of_worker();
  const std::uint32_t handle = open_stage(*peer);
  transport::Step step;
  step.job = std::string(32, 'a');
  step.sigma = {1};
  step.latents.form = "predicted";
  step.latents.delta = 0;
  Message message = make_message(step);
  message.add(transport::Blob::of(Bytes{std::byte{0}, std::byte{32}}));
  peer->send(message);
  EXPECT_EQ(peer->receive_error().code, Errc::kNotFound);  // no such job

  ASSERT_EQ(peer->ask(begin_job(handle, 'a'))->type(), "job_ready");
  ASSERT_EQ(peer->ask(begin_job(handle, 'b'))->type(), "job_ready");
  peer->send(message);
  const Error error = peer->receive_error();
  EXPECT_EQ(error.code, Errc::kProtocol);
  EXPECT_THAT(error.text, HasSubstr("step that was not here"));
  peer->send(message);
  EXPECT_EQ(peer->receive_error().code, Errc::kNotFound);

  // The other job still takes steps: this one has latents that are no frame.
  step.job = std::string(32, 'b');
  step.latents.form = "exact";
  step.latents.delta.reset();
  step.latents.frame = 0;
  message = make_message(step);
  message.add(transport::Blob::of(Bytes(64)));
  peer->send(message);
  EXPECT_EQ(peer->receive_error().code, Errc::kBadFormat);
}

TEST_F(Abuse, TooManyJobsAreBusy) {
  const auto peer = friend_of_worker();
  const std::uint32_t handle = open_stage(*peer);
  EXPECT_EQ(peer->ask(begin_job(handle, 'a'))->type(), "job_ready");
  EXPECT_EQ(peer->ask(begin_job(handle, 'b'))->type(), "job_ready");
  const Result<Message> third = peer->ask(begin_job(handle, 'c'));
  EXPECT_EQ(third->header.value("code", ""), "busy");
  EXPECT_TRUE(third->header.value("retryable", false));
  // The same job again takes the place of the old one.
  EXPECT_EQ(peer->ask(begin_job(handle, 'b'))->type(), "job_ready");
  Message end = bare("end_job");
  end.header["job"] = std::string(32, 'a');
  EXPECT_EQ(peer->ask(end)->type(), "job_ended");
  EXPECT_EQ(peer->ask(begin_job(handle, 'c'))->type(), "job_ready");
}

TEST_F(Abuse, NobodyJoinsAJobThatDoesNotExpectThem) {
  Message join = bare("join_job");
  join.header["job"] = std::string(32, 'a');
  join.header["stage"] = 1;
  RawPeer unknown(worker_->address(), stranger());
  EXPECT_FALSE(unknown.hello());
  unknown.send(join);
  EXPECT_EQ(unknown.receive_error().code, Errc::kNotPaired);
  EXPECT_TRUE(unknown.is_closed());

  const auto known = friend_of_worker();
  EXPECT_EQ(known->ask(join)->header.value("code", ""), "not_paired");
  EXPECT_EQ(known->ask(bare("ping"))->type(), "pong");
}

TEST_F(Abuse, ASecretWorksOnceAndTriesAreFew) {
  const std::filesystem::path other = fresh_folder("other");
  const Result<transport::Address> used = client::pair_with(worker_->pairing_line(), other);
  ASSERT_FALSE(used.ok());
  EXPECT_EQ(used.error().code, Errc::kNotPaired);
  EXPECT_THAT(used.error().text, HasSubstr("used before"));

  transport::PairingLine line = transport::parse_pairing_line(worker_->pairing_line()).value();
  line.fingerprint[0] ^= std::byte{1};
  const Result<transport::Address> forged = client::pair_with(to_string(line), other);
  ASSERT_FALSE(forged.ok());
  EXPECT_EQ(forged.error().code, Errc::kCertificate);
}

}  // namespace
}  // namespace pinion::test
