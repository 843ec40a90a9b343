#pragma once
// Protocol messages as bytes: header length, CBOR header, blobs (docs/protocol.md, section 2.1).
//
// Parsing trusts nothing: every bound is checked before memory is taken. Blobs of a parsed message are
// views that keep the whole message alive. Values; thread-safe as such.

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "pinion/base/bytes.h"

namespace pinion::transport {

using Json = nlohmann::json;

// Bytes that somebody keeps alive. Copying copies the handle.
struct Blob {
  std::shared_ptr<const void> owner;
  ByteSpan bytes;

  static Blob of(Bytes content);
};

struct Message {
  Json header = Json::object();  // without "blobs" in messages to be sent
  std::vector<Blob> blobs;
  std::size_t wire_bytes = 0;  // size as received; 0 in messages to be sent

  std::string_view type() const;  // "" if the header has none

  // Appends a blob and returns its index, for a header field.
  std::uint32_t add(Blob blob);
};

struct MessageLimits {
  std::size_t max_header_bytes = 65536;
  std::size_t max_depth = 8;
  std::size_t max_values = 8192;
  std::size_t max_text_bytes = 16384;
  std::size_t max_blobs = 64;
};

// One whole message; `owner` keeps `bytes` alive. kProtocol says what is wrong.
Result<Message> parse_message(Blob bytes, const MessageLimits& limits = {});

// The part before the blobs; the caller sends the blobs after it as they are.
Bytes message_head(const Message& message);

// All of it in one piece, for tests and small messages.
Bytes serialize(const Message& message);

// Size on the wire of a message whose head has `head_bytes`.
std::size_t wire_size(std::size_t head_bytes, const Message& message);

}  // namespace pinion::transport
