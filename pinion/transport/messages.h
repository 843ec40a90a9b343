#pragma once
// The headers of all messages, with the bounds of docs/protocol.md, section 4. Plain values.

#include "pinion/transport/fields.h"

namespace pinion::transport {

inline constexpr int kProtocolMin = 1;
inline constexpr int kProtocolMax = 1;
inline constexpr std::size_t kUnauthorisedMessageBytes = 64 * 1024;
inline constexpr std::size_t kDefaultMessageBytes = std::size_t{1} << 30;
inline constexpr std::size_t kFingerprintDigits = 64;
inline constexpr std::size_t kJobDigits = 32;
inline constexpr Bounds kAttempts{0, 1000};
inline constexpr Bounds kStages{0, 63};
inline constexpr Bounds kSteps{0, 100'000};
inline constexpr std::int64_t kMaxBatch = 64;

struct Hello {
  static constexpr std::string_view kType = "hello";
  int protocol_min = kProtocolMin;
  int protocol_max = kProtocolMax;
  std::string software;
  std::uint64_t max_message_bytes = kDefaultMessageBytes;

  template <class V>
  void fields(V& v) {
    v.integer("protocol_min", protocol_min, {1, 65535});
    v.integer("protocol_max", protocol_max, {1, 65535});
    v.text("software", software, {0, 64});
    v.integer("max_message_bytes", max_message_bytes, {65536, std::int64_t{1} << 40});
  }
};

struct HelloReply {
  static constexpr std::string_view kType = "hello";
  Hello hello;
  int protocol = 0;
  bool paired = false;
  std::string device;
  std::vector<std::string> capabilities;

  template <class V>
  void fields(V& v) {
    hello.fields(v);
    v.integer("protocol", protocol, {1, 65535});
    v.boolean("paired", paired);
    v.text("device", device, {0, 64});
    v.texts("capabilities", capabilities, {0, 32}, {0, 32});
  }
};

struct Pair {
  static constexpr std::string_view kType = "pair";
  std::string secret;
  std::string name;

  template <class V>
  void fields(V& v) {
    v.text("secret", secret, {22, 22});
    v.text("name", name, {0, 64});
  }
};

// Messages without fields of their own.
template <class Tag>
struct Bare {
  static constexpr std::string_view kType = Tag::kType;
  template <class V>
  void fields(V&) {}
};
struct PairedTag {
  static constexpr std::string_view kType = "paired";
};
struct JobReadyTag {
  static constexpr std::string_view kType = "job_ready";
};
struct JoinedTag {
  static constexpr std::string_view kType = "joined";
};
struct JobEndedTag {
  static constexpr std::string_view kType = "job_ended";
};
struct PingTag {
  static constexpr std::string_view kType = "ping";
};
using Paired = Bare<PairedTag>;
using JobReady = Bare<JobReadyTag>;
using Joined = Bare<JoinedTag>;
using JobEnded = Bare<JobEndedTag>;
using Ping = Bare<PingTag>;

struct Pong {
  static constexpr std::string_view kType = "pong";
  std::uint64_t clock_us = 0;

  template <class V>
  void fields(V& v) {
    v.integer("clock_us", clock_us, {0, std::int64_t{1} << 53});
  }
};

struct OpenStage {
  static constexpr std::string_view kType = "open_stage";
  std::string model_hash;
  std::string model_label;
  int begin = 0;
  int end = 0;
  std::string dtype;

  template <class V>
  void fields(V& v) {
    v.hex("model_hash", model_hash, 64);
    v.text("model_label", model_label, {0, 256});
    v.integer("begin", begin, {0, 4096});
    v.integer("end", end, {0, 4096});
    v.text("dtype", dtype, {1, 8});
  }
};

struct Ready {
  static constexpr std::string_view kType = "ready";
  std::uint32_t handle = 0;
  std::string device;
  std::uint64_t weight_bytes = 0;
  double load_ms = 0;
  int blocks = 0;

  template <class V>
  void fields(V& v) {
    v.integer("handle", handle, {1, std::int64_t{1} << 31});
    v.text("device", device, {0, 64});
    v.integer("weight_bytes", weight_bytes, {0, std::int64_t{1} << 50});
    v.number("load_ms", load_ms);
    v.integer("blocks", blocks, {1, 4096});
  }
};

struct NextHop {
  std::string host;
  std::uint16_t port = 0;
  std::string fingerprint;  // hex, empty on plain loopback

  template <class V>
  void fields(V& v) {
    v.text("host", host, {1, 255});
    v.integer("port", port, {1, 65535});
    v.text("fingerprint", fingerprint, {0, kFingerprintDigits});
  }
};

struct Upstream {
  std::string fingerprint;  // of the certificate that may send steps; empty on plain loopback

  template <class V>
  void fields(V& v) {
    v.text("fingerprint", fingerprint, {0, kFingerprintDigits});
  }
};

struct BeginJob {
  static constexpr std::string_view kType = "begin_job";
  std::string job;
  int stage = 0;
  int stages = 1;
  int attempt = 0;
  std::uint32_t handle = 0;
  std::string profile;
  std::int64_t batch = 1;
  std::int64_t grid_height = 0;
  std::int64_t grid_width = 0;
  std::vector<std::pair<std::int64_t, std::int64_t>> references;
  std::int64_t text_tokens = 0;
  std::vector<float> guidance;
  std::optional<std::uint32_t> context;
  std::optional<std::uint32_t> reference_latents;
  std::optional<NextHop> next;
  std::optional<Upstream> upstream;

  template <class V>
  void fields(V& v) {
    v.hex("job", job, kJobDigits);
    v.integer("stage", stage, kStages);
    v.integer("stages", stages, {1, kStages.max + 1});
    v.integer("attempt", attempt, kAttempts);
    v.integer("handle", handle, {1, std::int64_t{1} << 31});
    v.text("profile", profile, {1, 64});
    v.integer("batch", batch, {1, kMaxBatch});
    v.integer("grid_height", grid_height, {1, 4096});
    v.integer("grid_width", grid_width, {1, 4096});
    v.pairs("references", references, {0, 16}, {1, 4096});
    v.integer("text_tokens", text_tokens, {0, 65536});
    v.numbers("guidance", guidance, {0, kMaxBatch});
    v.maybe_blob("context", context);
    v.maybe_blob("reference_latents", reference_latents);
    v.maybe_map("next", next);
    v.maybe_map("upstream", upstream);
  }
};

struct JoinJob {
  static constexpr std::string_view kType = "join_job";
  std::string job;
  int stage = 0;

  template <class V>
  void fields(V& v) {
    v.hex("job", job, kJobDigits);
    v.integer("stage", stage, {1, kStages.max});
  }
};

struct EndJob {
  static constexpr std::string_view kType = "end_job";
  std::string job;

  template <class V>
  void fields(V& v) {
    v.hex("job", job, kJobDigits);
  }
};

struct Cancel {
  static constexpr std::string_view kType = "cancel";
  std::string job;

  template <class V>
  void fields(V& v) {
    v.hex("job", job, kJobDigits);
  }
};

struct ErrorMessage {
  static constexpr std::string_view kType = "error";
  std::optional<std::uint64_t> reply_to;
  std::optional<std::string> job;
  std::optional<int> stage;
  std::optional<int> step;
  std::optional<int> attempt;
  std::string code;
  std::string text;
  std::string hint;
  bool retryable = false;

  template <class V>
  void fields(V& v) {
    v.maybe_integer("reply_to", reply_to, Bounds{0, std::int64_t{1} << 53});
    v.maybe_hex("job", job, kJobDigits);
    v.maybe_integer("stage", stage, kStages);
    v.maybe_integer("step", step, kSteps);
    v.maybe_integer("attempt", attempt, kAttempts);
    v.text("code", code, {1, 32});
    v.text("text", text, {0, 2048});
    v.text("hint", hint, {0, 1024});
    v.boolean("retryable", retryable);
  }

  static ErrorMessage of(const Error& error);
  // With control characters replaced: the text came from outside.
  Error to_error() const;
};

}  // namespace pinion::transport
