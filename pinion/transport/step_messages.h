#pragma once
// The headers of the messages that cross the wire at every step (docs/protocol.md, sections 4.6, 4.7, 5, 6).
// Plain values.

#include "pinion/transport/messages.h"

namespace pinion::transport {

inline constexpr Bounds kClock{0, std::int64_t{1} << 53};
inline constexpr Bounds kByteCount{0, std::int64_t{1} << 50};

// What one frame cost; the numbers of codec::FrameStats.
struct TraceStream {
  std::string name;
  std::uint64_t frame_bytes = 0;
  std::uint64_t basis_bytes = 0;
  std::uint64_t tensor_bytes = 0;
  std::int64_t elements = 0;
  double ideal_index_bits = 0;
  double snr_db = 0;
  double cosine = 0;
  double output_snr_db = 0;
  double max_error = 0;
  bool key_frame = true;

  template <class V>
  void fields(V& v) {
    v.text("name", name, {1, 32});
    v.integer("frame_bytes", frame_bytes, kByteCount);
    v.integer("basis_bytes", basis_bytes, kByteCount);
    v.integer("tensor_bytes", tensor_bytes, kByteCount);
    v.integer("elements", elements, kByteCount);
    v.number("ideal_index_bits", ideal_index_bits);
    v.number("snr_db", snr_db);
    v.number("cosine", cosine);
    v.number("output_snr_db", output_snr_db);
    v.number("max_error", max_error);
    v.boolean("key_frame", key_frame);
  }
};

// What one hop cost: the sender's part, then the receiver's.
struct TraceHop {
  double encode_ms = 0;
  std::uint64_t sent_us = 0;
  std::vector<TraceStream> streams;
  std::uint64_t message_bytes = 0;
  std::uint64_t received_us = 0;
  double decode_ms = 0;
  double queue_ms = 0;
  double compute_ms = 0;

  template <class V>
  void fields(V& v) {
    v.number("encode_ms", encode_ms);
    v.integer("sent_us", sent_us, kClock);
    v.maps("streams", streams, {0, 8});
    v.integer("message_bytes", message_bytes, kByteCount);
    v.integer("received_us", received_us, kClock);
    v.number("decode_ms", decode_ms);
    v.number("queue_ms", queue_ms);
    v.number("compute_ms", compute_ms);
  }
};

// How noise is drawn again at the other end.
struct NoiseRecipe {
  std::string generator;
  std::int64_t seed = 0;

  template <class V>
  void fields(V& v) {
    v.text("generator", generator, {1, 26});
    v.integer("seed", seed, {0, std::numeric_limits<std::int64_t>::max()});
  }
};

// The latents of a step. Exact: `frame`. Recipe: `recipe`. Predicted: `delta`. With each, for all but the
// last stage, the last velocity.
struct LatentsPart {
  std::string form;  // "exact", "recipe" or "predicted"
  std::uint32_t crc32c = 0;
  std::optional<std::uint32_t> frame;
  std::optional<std::uint32_t> delta;
  std::optional<std::uint32_t> velocity;
  std::optional<std::uint32_t> velocity_basis;
  std::optional<NoiseRecipe> recipe;

  template <class V>
  void fields(V& v) {
    v.text("form", form, {1, 16});
    v.integer("crc32c", crc32c, {0, 0xffffffffLL});
    v.maybe_blob("frame", frame);
    v.maybe_blob("delta", delta);
    v.maybe_blob("velocity", velocity);
    v.maybe_blob("velocity_basis", velocity_basis);
    v.maybe_map("recipe", recipe);
  }
};

struct StatePart {
  std::string name;
  std::uint32_t frame = 0;
  std::optional<std::uint32_t> basis;

  template <class V>
  void fields(V& v) {
    v.text("name", name, {1, 32});
    v.blob("frame", frame);
    v.maybe_blob("basis", basis);
  }
};

struct Step {
  static constexpr std::string_view kType = "step";
  std::string job;
  int stage = 0;
  int step = 0;
  int attempt = 0;
  std::vector<float> sigma;
  float delta_sigma = 0;
  LatentsPart latents;
  std::vector<StatePart> state;
  std::vector<TraceHop> trace;

  template <class V>
  void fields(V& v) {
    v.hex("job", job, kJobDigits);
    v.integer("stage", stage, kStages);
    v.integer("step", step, kSteps);
    v.integer("attempt", attempt, kAttempts);
    v.numbers("sigma", sigma, {1, kMaxBatch});
    v.number("delta_sigma", delta_sigma);
    v.map("latents", latents);
    v.maps("state", state, {0, 8});
    v.maps("trace", trace, {0, 65});
  }
};

struct StepResult {
  static constexpr std::string_view kType = "result";
  std::string job;
  int step = 0;
  int attempt = 0;
  std::uint32_t velocity = 0;
  std::optional<std::uint32_t> basis;
  std::vector<TraceHop> trace;

  template <class V>
  void fields(V& v) {
    v.hex("job", job, kJobDigits);
    v.integer("step", step, kSteps);
    v.integer("attempt", attempt, kAttempts);
    v.blob("velocity", velocity);
    v.maybe_blob("basis", basis);
    v.maps("trace", trace, {0, 65});
  }
};

}  // namespace pinion::transport
