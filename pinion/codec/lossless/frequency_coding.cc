#include "pinion/codec/lossless/frequency_coding.h"

namespace pinion::codec {

void write_frequencies(BitWriter& out, const Frequencies& frequencies) {
  PINION_ASSERT(frequencies.size() == kMaxAlphabet);
  std::uint32_t sum = 0;
  for (std::size_t s = 0; sum < kProbabilityScale; ++s) {
    PINION_ASSERT(s < frequencies.size());
    if (frequencies[s] == 0) {
      std::uint32_t run = 1;
      while (frequencies[s + run] == 0) ++run;
      out.write_gamma(1);
      out.write_gamma(run);
      s += run;
      out.write_gamma(frequencies[s]);
    } else {
      out.write_gamma(frequencies[s] + 1u);
    }
    sum += frequencies[s];
  }
}

Result<Frequencies> read_frequencies(BitReader& in) {
  const Error broken{Errc::kBadFormat, "a probability table is broken", ""};
  Frequencies frequencies(kMaxAlphabet);
  std::uint32_t sum = 0;
  for (std::size_t s = 0; sum < kProbabilityScale; ++s) {
    if (s >= kMaxAlphabet) return broken;
    std::uint32_t frequency = in.read_gamma() - 1;
    if (frequency == 0) {
      const std::uint32_t run = in.read_gamma();
      if (in.failed() || run >= kMaxAlphabet - s) return broken;
      s += run;
      frequency = in.read_gamma();
    }
    if (in.failed() || frequency > kProbabilityScale - sum) return broken;
    frequencies[s] = static_cast<std::uint16_t>(frequency);
    sum += frequency;
  }
  return frequencies;
}

}  // namespace pinion::codec
