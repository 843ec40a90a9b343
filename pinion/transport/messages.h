#pragma once
// The headers of messages about stages and jobs, and of errors, with the bounds of docs/protocol.md,
// section 4. Plain values.

#include "pinion/transport/session_messages.h"

namespace pinion::transport {

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

// A calibration that a stage codes with. Without the asset, one that the stage is believed to hold.
struct CalibrationPart {
  int cut = 0;
  std::string stream;
  std::string id;
  std::optional<std::uint32_t> asset;

  template <class V>
  void fields(V& v) {
    v.integer("cut", cut, {0, 4096});
    v.text("stream", stream, {1, 32});
    v.hex("id", id, 32);
    v.maybe_blob("asset", asset);
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
  std::optional<std::string> velocity_profile;
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
  std::vector<CalibrationPart> calibrations;
  std::vector<std::string> velocity_bases;
  bool latent_maps = false;

  template <class V>
  void fields(V& v) {
    v.hex("job", job, kJobDigits);
    v.integer("stage", stage, kStages);
    v.integer("stages", stages, {1, kStages.max + 1});
    v.integer("attempt", attempt, kAttempts);
    v.integer("handle", handle, {1, std::int64_t{1} << 31});
    v.text("profile", profile, {1, 64});
    v.maybe_text("velocity_profile", velocity_profile, {1, 64});
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
    v.maybe_maps("calibrations", calibrations, {0, 32});
    v.maybe_hexes("velocity_bases", velocity_bases, {0, 4}, 32);
    v.maybe_true("latent_maps", latent_maps);
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
