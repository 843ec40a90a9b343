#pragma once
// What can go wrong because of outside input or the environment, as a value.
//
// An Error says what happened, where, and what to do. `Errc` names are pinned: they cross the wire
// (docs/protocol.md) and programs match on them, so none is ever renamed or re-used.

#include <string>
#include <string_view>

namespace pinion {

enum class Errc {
  kInvalidArgument,  // the caller asked for something that cannot be (cut out of range, bad size)
  kBadFormat,        // bytes that do not follow their specification
  kNeedMoreBytes,    // valid so far, but the input ends too early
  kTooLarge,         // over a limit that the receiver set
  kUnsupported,      // well formed, but not something this build or version can do
  kNotFound,         // file, tensor, model, job, stage or frame that is not there
  kIo,               // the operating system refused a file operation
  kUnreachable,      // nothing answers at that address
  kConnectionLost,   // an established connection ended early
  kTimeout,          // a deadline passed
  kNotPaired,        // the worker does not know this client
  kCertificate,      // the peer is not who the pairing said
  kVersionMismatch,  // the two sides speak different protocol versions
  kModelMismatch,    // the two sides hold different weights
  kProtocol,         // a message that does not follow docs/protocol.md
  kBusy,             // a queue or quota is full; try again
  kOutOfMemory,      // host or device memory is exhausted
  kCancelled,        // stopped on request
  kInternal,         // our own mistake
};

// Stable wire and JSON name, such as "bad_format".
std::string_view name(Errc code);

// The code with that wire name; kInternal for a name this version does not know.
Errc errc_from_name(std::string_view wire_name);

// True when the same request may succeed later without a change (lost link, timeout, full queue).
bool is_retryable(Errc code);

struct [[nodiscard]] Error {
  Errc code = Errc::kInternal;
  std::string text;  // what and where, one line, no trailing full stop
  std::string hint;  // what to do, one line; empty when the text says it all

  // "text (hint)": one line for people.
  std::string message() const;

  // The same error with "prefix: " before its text.
  Error in(std::string_view prefix) &&;
};

}  // namespace pinion
