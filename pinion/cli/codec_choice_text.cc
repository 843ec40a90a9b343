#include "pinion/cli/codec_choice_text.h"

#include <fmt/core.h>

namespace pinion::cli {

namespace {

// What the other codecs would have taken, and by what link.
std::string reasons(const codec::DirectionChoice& choice) {
  std::string text =
      fmt::format(", {:.1f} ms a step expected;", expected_ms(choice.trials[choice.chosen], *choice.link));
  for (std::size_t i = 0; i < choice.trials.size(); ++i) {
    const codec::CodecTrial& trial = choice.trials[i];
    if (i == choice.chosen) continue;
    text += " " + codec::to_string(trial.profile) +
            (trial.why_not.empty() ? fmt::format(" {:.1f} ms,", expected_ms(trial, *choice.link))
                                   : fmt::format(" not ({}),", trial.why_not));
  }
  return text + fmt::format(" at {:.3g} MB/s, {:.2f} ms round trip", choice.link->bytes_per_s / 1e6,
                            choice.link->round_trip_ms);
}

}  // namespace

std::string codec_choice_text(const codec::CodecChoice& choice) {
  const std::string note = choice.note.empty() ? "" : "; " + choice.note;
  std::string text = "codec auto: " + codec::to_string(choice.profile());
  if (!choice.link) return text + note + "\n";
  text += reasons(choice);
  if (choice.way_back) {
    text += "\nvelocity, on its way back: " + codec::to_string(choice.way_back->profile()) +
            reasons(*choice.way_back);
  }
  return text + fmt::format("; choosing took {:.0f} ms{}\n", choice.choosing_ms, note);
}

}  // namespace pinion::cli
