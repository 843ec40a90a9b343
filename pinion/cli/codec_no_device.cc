// A build without CUDA codes on the CPU only.

#include "pinion/cli/codec_on_device.h"

namespace pinion::cli {
namespace {

Error no_cuda() {
  return Error{Errc::kUnsupported, "this program was built without the codec's CUDA kernels",
               "leave --device out, or build where there is a CUDA compiler (docs/cuda.md)"};
}

}  // namespace

Result<void> check_cuda_device(int) { return no_cuda(); }

Result<std::unique_ptr<SendingEnd>> sending_end_on_device(int, codec::SenderSettings) { return no_cuda(); }

Result<std::unique_ptr<ReceivingEnd>> receiving_end_on_device(int, std::shared_ptr<const codec::Calibration>,
                                                              const LargestTensor&) {
  return no_cuda();
}

}  // namespace pinion::cli
