#pragma once
// Coders by name, as users of closed_loop write them: "planes:10", "calibrated:24,30,36", "int8", or a family
// alone for its usual ladder of settings.

#include <vector>

#include "bench/loop/pca_coder.h"
#include "bench/loop/pinion_coder.h"

namespace pinion::bench {

struct NamedCoder {
  std::string family;   // "planes"
  std::string setting;  // "10"; empty where a family has none
  std::unique_ptr<StateCoder> coder;

  std::string name() const { return setting.empty() ? family : family + ":" + setting; }
};

// All families: planes, uniform-zstd, int8, int4, pca-deflate, fidelity, calibrated, lossless, raw.
std::vector<std::string> coder_families();

inline constexpr std::string_view kPca = "pca-deflate";
bool names_family(const std::vector<std::string>& texts, std::string_view family);

// The coders that `texts` name, in that order. `bases` outlive them.
Result<std::vector<NamedCoder>> make_coders(const std::vector<std::string>& texts, const PcaBases& bases,
                                            const codec::CalibrationSet& calibrations);

}  // namespace pinion::bench
