// Protocol messages from arbitrary bytes: what is accepted must survive being written and read again, and
// no header may name a blob that is not there. The smaller parsers of the transport get the same bytes.

#include <array>
#include <cstdint>

#include "pinion/transport/latents_delta.h"
#include "pinion/transport/pairing_line.h"
#include "pinion/transport/step_messages.h"

namespace {

using pinion::Bytes;
using pinion::ByteSpan;
using pinion::transport::Blob;
using pinion::transport::Message;

template <class T>
void check_header(const Message& message) {
  const pinion::Result<T> header = pinion::transport::read_header<T>(message);
  if (!header.ok()) return;
  Message again = pinion::transport::make_message(header.value());
  again.blobs = message.blobs;
  PINION_ASSERT(pinion::transport::read_header<T>(again).ok());
}

void check_step(const Message& message) {
  const auto step = pinion::transport::read_header<pinion::transport::Step>(message);
  if (!step.ok()) return;
  for (const auto& part : step->state) PINION_ASSERT(part.frame < message.blobs.size());
  for (const auto& blob : {step->latents.frame, step->latents.delta, step->latents.velocity}) {
    PINION_ASSERT(!blob || *blob < message.blobs.size());
  }
}

void check_message(ByteSpan bytes) {
  const auto parsed = pinion::transport::parse_message(Blob::of(Bytes(bytes.begin(), bytes.end())));
  if (!parsed.ok()) return;
  const Message& message = parsed.value();
  const auto again = pinion::transport::parse_message(Blob::of(pinion::transport::serialize(message)));
  PINION_ASSERT(again.ok() && again->blobs.size() == message.blobs.size());
  check_header<pinion::transport::Hello>(message);
  check_header<pinion::transport::HelloReply>(message);
  check_header<pinion::transport::Pair>(message);
  check_header<pinion::transport::Ping>(message);
  check_header<pinion::transport::OpenStage>(message);
  check_header<pinion::transport::Ready>(message);
  check_header<pinion::transport::BeginJob>(message);
  check_header<pinion::transport::JobReady>(message);
  check_header<pinion::transport::JoinJob>(message);
  check_header<pinion::transport::Step>(message);
  check_header<pinion::transport::StepResult>(message);
  check_header<pinion::transport::ErrorMessage>(message);
  check_step(message);
}

void check_delta(ByteSpan bytes) {
  std::array<float, 64> latents{};
  if (!pinion::transport::apply_latents_delta(bytes, latents).ok()) return;
  const std::array<float, 64> prediction{};
  std::array<float, 64> again{};
  const Bytes delta = pinion::transport::encode_latents_delta(latents, prediction);
  PINION_ASSERT(pinion::transport::apply_latents_delta(delta, again).ok());
  PINION_ASSERT(std::memcmp(latents.data(), again.data(), sizeof(latents)) == 0);
}

void check_pairing_line(ByteSpan bytes) {
  const auto line = pinion::transport::parse_pairing_line(pinion::as_text(bytes));
  if (!line.ok()) return;
  const auto again = pinion::transport::parse_pairing_line(to_string(line.value()));
  PINION_ASSERT(again.ok() && again->fingerprint == line->fingerprint && again->address == line->address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
  check_message(bytes);
  check_delta(bytes);
  check_pairing_line(bytes);
  return 0;
}
