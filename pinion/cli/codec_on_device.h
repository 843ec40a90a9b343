#pragma once
// The ends of a stream on a CUDA device. A build without CUDA has codec_no_device.cc in place of
// codec_on_device.cc, which refuses everything.

#include "pinion/cli/codec_ends.h"

namespace pinion::cli {

// kUnsupported: the device is not here.
Result<void> check_cuda_device(int device);

// As make_sending_end() and make_receiving_end(). Memory is taken with the first tensor.
Result<std::unique_ptr<SendingEnd>> sending_end_on_device(int device, codec::SenderSettings settings);
Result<std::unique_ptr<ReceivingEnd>> receiving_end_on_device(
    int device, std::shared_ptr<const codec::Calibration> calibration, const LargestTensor& largest);

}  // namespace pinion::cli
