#include "bench/loop/pca_coder.h"

#include <cmath>
#include <queue>

#include "bench/loop/byte_packers.h"
#include "bench/loop/exact_stream.h"
#include "bench/loop/range_symbols.h"
#include "pinion/base/float_formats.h"

namespace pinion::bench {
namespace {

// How many deviations lie between the least and the greatest of a component's values; for the allocation
// only.
constexpr double kRangeDeviations = 8;

// The components that get bits, with their directions.
struct Allocation {
  std::vector<std::uint8_t> bits;
  codec::Matrix directions;  // [components, channels]
};

Allocation allocate(const PcaBasis& basis, double mean_bits) {
  Allocation kept{allocate_bits(basis.variances, mean_bits), {}};
  // Bits fall with the variances, so those without any are the last.
  while (!kept.bits.empty() && kept.bits.back() == 0) kept.bits.pop_back();
  kept.directions = codec::Matrix(kept.bits.size(), basis.mean.size());
  std::copy_n(basis.directions.values.begin(), kept.directions.values.size(), kept.directions.values.begin());
  return kept;
}

class PcaStream : public StreamCoder {
 public:
  PcaStream(const PcaBasis& basis, double mean_bits)
      : basis_(basis), kept_(allocate(basis, mean_bits)), columns_(codec::transpose(kept_.directions)) {}

  Result<PassedTensor> pass(const Tensor& tensor, const codec::StepContext&) override {
    const std::size_t channels = basis_.mean.size();
    codec::Matrix rows(static_cast<std::size_t>(tensor.elements()) / channels, channels);
    rows.values = floats_of(tensor);
    for (std::size_t r = 0; r < rows.rows; ++r) {
      for (std::size_t c = 0; c < channels; ++c) rows.row(r)[c] -= basis_.mean[c];
    }
    const codec::Matrix components = codec::multiply_transposed(columns_, codec::transpose(rows));
    const Bytes symbols = to_symbols(components, kept_.bits);
    PINION_TRY(const Bytes packed, deflate_pack(symbols));
    PINION_TRY(const Bytes unpacked, deflate_unpack(packed, symbols.size()));
    PINION_TRY(const codec::Matrix decoded, from_symbols(unpacked, kept_.bits, rows.rows));
    codec::Matrix back = codec::multiply_transposed(decoded, kept_.directions);
    for (std::size_t r = 0; r < back.rows; ++r) {
      for (std::size_t c = 0; c < channels; ++c) back.row(r)[c] += basis_.mean[c];
    }
    return PassedTensor{.received = Tensor::from_floats(back.values, tensor.shape()),
                        .frame_bytes = static_cast<double>(packed.size())};
  }

 private:
  const PcaBasis& basis_;
  Allocation kept_;
  codec::Matrix columns_;  // [channels, components]
};

class PcaCoder : public StateCoder {
 public:
  PcaCoder(const PcaBases& bases, double mean_bits) : bases_(bases), mean_bits_(mean_bits) {}

  Result<std::unique_ptr<StreamCoder>> open(const StreamPlace& place) const override {
    if (place.stream == "velocity") return {std::make_unique<ExactStream>(kHalfBytes)};
    const auto basis = bases_.find({place.cut, place.stream});
    if (basis == bases_.end()) {
      return Error{Errc::kNotFound,
                   "no basis was learned for \"" + place.stream + "\" at cut " + std::to_string(place.cut),
                   ""};
    }
    return {std::make_unique<PcaStream>(basis->second, mean_bits_)};
  }

  // As float16: the directions in use, the mean, and a byte for each component's bits.
  std::size_t asset_bytes(const StreamPlace& place) const override {
    const auto basis = bases_.find({place.cut, place.stream});
    if (basis == bases_.end()) return 0;
    const std::size_t channels = basis->second.mean.size();
    const std::size_t components = allocate(basis->second, mean_bits_).bits.size();
    return 2 * channels * (components + 1) + components;
  }

 private:
  const PcaBases& bases_;
  double mean_bits_;
};

}  // namespace

std::vector<std::uint8_t> allocate_bits(std::span<const double> variances, double mean_bits) {
  // Of a component of variance 1, by its bits: none leave all of it.
  const auto error = [](int bits) {
    if (bits == 0) return 1.0;
    const double step = kRangeDeviations / ((1 << bits) - 1);
    return step * step / 12;
  };
  // One or two bits over the whole range are worse than none or than three, a bit's worth.
  constexpr int kFirstGrant = 3;
  struct Grant {
    double gain;  // for each bit
    std::size_t component;
    int bits;
    bool operator<(const Grant& other) const {
      // Equal gains: the earlier component first, so that bits never rise along the components.
      return gain != other.gain ? gain < other.gain : component > other.component;
    }
  };
  std::vector<std::uint8_t> given(variances.size());
  std::priority_queue<Grant> grants;
  const auto offer = [&](std::size_t k) {
    const int has = given[k], more = has == 0 ? kFirstGrant : 1;
    if (has + more > kMaxSymbolBits || !(variances[k] > 0)) return;
    grants.push({variances[k] * (error(has) - error(has + more)) / more, k, more});
  };
  for (std::size_t k = 0; k < variances.size(); ++k) offer(k);
  auto budget = static_cast<std::int64_t>(std::llround(mean_bits * static_cast<double>(variances.size())));
  while (!grants.empty() && grants.top().bits <= budget) {
    const Grant grant = grants.top();
    grants.pop();
    budget -= grant.bits;
    given[grant.component] += static_cast<std::uint8_t>(grant.bits);
    offer(grant.component);
  }
  return given;
}

Result<std::unique_ptr<StateCoder>> make_pca_coder(const PcaBases& bases, double mean_bits) {
  if (!(mean_bits > 0 && mean_bits <= kMaxSymbolBits)) {
    return Error{Errc::kInvalidArgument, "coder pca-deflate takes more than 0 and at most 16 bits", ""};
  }
  return {std::make_unique<PcaCoder>(bases, mean_bits)};
}

}  // namespace pinion::bench
