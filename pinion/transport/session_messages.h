#pragma once
// The headers of messages that are about a connection, not a job, with the bounds of docs/protocol.md,
// section 4.

#include "pinion/transport/fields.h"
#include "pinion/transport/probe_content.h"

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
inline constexpr std::string_view kNoiseCapability = "noise:";  // then the generator
inline constexpr std::string_view kReferencesCapability = "calibrated_references";
inline constexpr std::string_view kResponsesCapability = "calibrated_responses";
inline constexpr std::string_view kMapsCapability = "latent_maps";
inline constexpr std::string_view kVelocityProfilesCapability = "velocity_profiles";

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
struct JobEndedTag {
  static constexpr std::string_view kType = "job_ended";
};
using Paired = Bare<PairedTag>;
using JobEnded = Bare<JobEndedTag>;

// What the receiver of a job's states holds already: the sender need not send it again.
struct KnownBases {
  std::vector<std::string> bases;

  template <class V>
  void fields(V& v) {
    v.maybe_hexes("bases", bases, {0, 64}, 32);
  }
};
struct JobReady : KnownBases {
  static constexpr std::string_view kType = "job_ready";
};
struct Joined : KnownBases {
  static constexpr std::string_view kType = "joined";
};

struct Ping {
  static constexpr std::string_view kType = "ping";
  std::optional<std::uint32_t> reply_bytes;  // of a blob that the pong is to carry

  template <class V>
  void fields(V& v) {
    v.maybe_integer("reply_bytes", reply_bytes, Bounds{0, std::int64_t{kMostProbeBytes}});
  }
};

struct Pong {
  static constexpr std::string_view kType = "pong";
  std::uint64_t clock_us = 0;

  template <class V>
  void fields(V& v) {
    v.integer("clock_us", clock_us, {0, std::int64_t{1} << 53});
  }
};

}  // namespace pinion::transport
