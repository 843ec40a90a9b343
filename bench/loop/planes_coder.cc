#include "bench/loop/planes_coder.h"

#include <cstring>

#include "bench/coded_planes.h"
#include "bench/loop/exact_stream.h"

namespace pinion::bench {
namespace {

class PlanesStream : public StreamCoder {
 public:
  PlanesStream(codec::TokenGrid grid, int qp) : packing_{.grid = grid}, qp_(qp) {}

  Result<PassedTensor> pass(const Tensor& tensor, const codec::StepContext&) override {
    const std::int64_t pictures = tensor.shape()[0];
    const Shape one{tensor.shape()[1], tensor.shape()[2]};
    const std::size_t picture_bytes = tensor.bytes() / static_cast<std::size_t>(pictures);
    PassedTensor passed{.received = Tensor::empty(DType::kF32, tensor.shape())};
    std::byte* to = passed.received.mutable_data();
    for (std::int64_t p = 0; p < pictures; ++p) {
      const TensorView view{
          tensor.view().data + static_cast<std::size_t>(p) * picture_bytes, tensor.dtype(), one, {}};
      const std::vector<Tensor> alone{Tensor::copy_of(view)};
      PINION_TRY(const std::vector<PlaneStep> coded, code_as_planes(alone, packing_, qp_, 1));
      const Tensor& decoded = coded.front().decoded;
      std::memcpy(to, decoded.view().data, decoded.bytes());
      to += decoded.bytes();
      passed.frame_bytes += static_cast<double>(coded.front().bytes);
    }
    return passed;
  }

 private:
  codec::RangePacking packing_;
  int qp_;
};

class PlanesCoder : public StateCoder {
 public:
  explicit PlanesCoder(int qp) : qp_(qp) {}

  Result<std::unique_ptr<StreamCoder>> open(const StreamPlace& place) const override {
    if (place.stream != "image") return {std::make_unique<ExactStream>(kHalfBytes)};
    return {std::make_unique<PlanesStream>(place.grid, qp_)};
  }
  ReturnPath return_path() const override { return ReturnPath::kStates; }

 private:
  int qp_;
};

}  // namespace

Result<std::unique_ptr<StateCoder>> make_planes_coder(int qp) { return {std::make_unique<PlanesCoder>(qp)}; }

}  // namespace pinion::bench
