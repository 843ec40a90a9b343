#pragma once
// A coder like those that compress KV caches by a transform (KVTC, ICLR 2026): principal components learned
// from other jobs' states, bits given to each component where they lower the error most, uniform
// quantisation, DEFLATE. It follows that recipe, not its code: the quantiser is range_symbols.h, bits are
// whole numbers given out greedily where KVTC has a dynamic program. The velocity returns as float16.

#include <map>

#include "bench/loop/state_coder.h"
#include "pinion/codec/math/matrix.h"

namespace pinion::bench {

// What was learned of a stream at a cut.
struct PcaBasis {
  std::vector<float> mean;        // [channels]
  codec::Matrix directions;       // row k: the unit vector of variances[k], [channels, channels]
  std::vector<double> variances;  // largest first
};

using PcaBases = std::map<std::pair<int, std::string>, PcaBasis>;  // by cut and stream

// Bits of each component, `mean_bits` a component on the mean or a little less, where they lower the expected
// error the most: of b bits it is range^2 / (12 (2^b - 1)^2), of none the variance. At most 16 each; where
// variances fall, bits never rise.
std::vector<std::uint8_t> allocate_bits(std::span<const double> variances, double mean_bits);

// `bases` outlive the coder. kInvalidArgument unless 0 < mean_bits <= 16.
Result<std::unique_ptr<StateCoder>> make_pca_coder(const PcaBases& bases, double mean_bits);

}  // namespace pinion::bench
