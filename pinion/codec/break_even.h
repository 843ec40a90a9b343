#pragma once
// Which codec gets a state to the far end soonest: what was tried on a real state, against what the link
// carries. Pure functions and plain values.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pinion/codec/codec.h"

namespace pinion::codec {

struct LinkSpeed {
  double bytes_per_s = 0;    // > 0
  double round_trip_ms = 0;  // of an empty message; every codec pays it alike, so it decides nothing
};

// One codec on one state, all its streams together.
struct CodecTrial {
  Profile profile;
  std::size_t bytes = 0;  // of the frames, without bases: those travel in the first job of a cut only
  double encode_ms = 0;
  double decode_ms = 0;
  std::string why_not;     // why it cannot be used or was not tried; then the figures are 0
  double way_back_ms = 0;  // of states: what the velocity that returns with them is expected to take

  double coding_ms() const { return encode_ms + decode_ms; }
};

// Encoding, sending at the link's speed and decoding, one after the other, and the way back.
double expected_ms(const CodecTrial& trial, const LinkSpeed& link);

// Below which speed of the link, in bytes per second, `trial` is sooner there than `raw`: infinite if it is
// at any, 0 if at none.
double pays_below(const CodecTrial& trial, const CodecTrial& raw);

// A less exact codec must be at least this much sooner than a more exact one: of the time, since times that
// were measured once are not better known, and in milliseconds, since nobody notices less in a step.
inline constexpr double kWorthwhileGain = 0.1;
inline constexpr double kWorthwhileGainMs = 2;

// The index of the codec to use. `trials` begin with the raw one, the most exact first; what cannot be used
// is passed over. Never one that is expected to be later than raw.
std::size_t choose_codec(std::span<const CodecTrial> trials, const LinkSpeed& link);

// What was chosen for one direction, with its reasons.
struct DirectionChoice {
  std::optional<LinkSpeed> link;   // empty where nothing was measured: no state is sent
  std::vector<CodecTrial> trials;  // as choose_codec takes them
  std::size_t chosen = 0;

  const Profile& profile() const { return trials[chosen].profile; }
};

// The states', and the velocity's, which returns.
struct CodecChoice : DirectionChoice {
  std::optional<DirectionChoice> way_back;  // empty where it follows from the states' profile
  double choosing_ms = 0;                   // what measuring and trying took
  std::string note;                         // what the figures leave out; may be empty
};

}  // namespace pinion::codec
