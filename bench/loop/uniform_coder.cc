#include "bench/loop/uniform_coder.h"

#include "bench/loop/byte_packers.h"
#include "bench/loop/exact_stream.h"
#include "bench/loop/range_symbols.h"
#include "pinion/base/float_formats.h"

namespace pinion::bench {
namespace {

class UniformStream : public StreamCoder {
 public:
  explicit UniformStream(int bits) : bits_(bits) {}

  Result<PassedTensor> pass(const Tensor& tensor, const codec::StepContext&) override {
    const auto channels = static_cast<std::size_t>(tensor.shape()[2]);
    codec::Matrix values(static_cast<std::size_t>(tensor.elements()) / channels, channels);
    values.values = floats_of(tensor);
    const std::vector<std::uint8_t> bits(channels, static_cast<std::uint8_t>(bits_));
    const Bytes symbols = to_symbols(codec::transpose(values), bits);
    PINION_TRY(const Bytes packed, zstd_pack(symbols));
    PINION_TRY(const Bytes unpacked, zstd_unpack(packed, symbols.size()));
    PINION_TRY(const codec::Matrix decoded, from_symbols(unpacked, bits, values.rows));
    return PassedTensor{.received = Tensor::from_floats(codec::transpose(decoded).values, tensor.shape()),
                        .frame_bytes = static_cast<double>(packed.size())};
  }

 private:
  int bits_;
};

class UniformCoder : public StateCoder {
 public:
  explicit UniformCoder(int bits) : bits_(bits) {}

  Result<std::unique_ptr<StreamCoder>> open(const StreamPlace& place) const override {
    if (place.stream == "velocity") return {std::make_unique<ExactStream>(kHalfBytes)};
    return {std::make_unique<UniformStream>(bits_)};
  }

 private:
  int bits_;
};

}  // namespace

Result<std::unique_ptr<StateCoder>> make_uniform_coder(int bits) {
  if (bits < 1 || bits > kMaxSymbolBits) {
    return Error{Errc::kInvalidArgument, "coder uniform-zstd takes 1 to 16 bits", ""};
  }
  return {std::make_unique<UniformCoder>(bits)};
}

}  // namespace pinion::bench
