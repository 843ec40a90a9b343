#include "pinion/cli/codec_ends.h"

#include <algorithm>

#include "pinion/base/stopwatch.h"
#include "pinion/cli/codec_on_device.h"
#include "pinion/codec/frame_format.h"

namespace pinion::cli {
namespace {

class CpuSendingEnd final : public SendingEnd {
 public:
  explicit CpuSendingEnd(codec::StreamSender sender) : sender_(std::move(sender)) {}

  Result<Sent> encode(const Tensor& tensor, const codec::StepContext& context) override {
    const Stopwatch watch;
    PINION_TRY(codec::EncodedFrame encoded, sender_.encode(tensor, context));
    return Sent{std::move(encoded), watch.elapsed_ms()};
  }

 private:
  codec::StreamSender sender_;
};

class CpuReceivingEnd final : public ReceivingEnd {
 public:
  explicit CpuReceivingEnd(codec::StreamReceiver receiver) : receiver_(std::move(receiver)) {}

  Result<void> add_basis(ByteSpan basis, const codec::BasisLimits& limits) override {
    return receiver_.add_basis(basis, limits);
  }

  Result<Received> decode(ByteSpan frame, const codec::StepContext& context,
                          const codec::DecodeLimits& limits) override {
    const Stopwatch watch;
    PINION_TRY(Tensor tensor, receiver_.decode(frame, context, limits));
    return Received{std::move(tensor), watch.elapsed_ms()};
  }

 private:
  codec::StreamReceiver receiver_;
};

// What pinion/codec/cuda encodes.
bool is_encoded_on_devices(const codec::Profile& profile) {
  switch (profile.mode) {
    case codec::Mode::kLossless:
    case codec::Mode::kFidelity:
    case codec::Mode::kBounded:
    case codec::Mode::kInt8:
    case codec::Mode::kInt4:
      return true;
    case codec::Mode::kCalibrated:
      return profile.budget_bytes == 0;
    case codec::Mode::kRaw:
    case codec::Mode::kMapped:
      return false;
  }
  return false;
}

}  // namespace

void LargestTensor::take(DType dtype, const Shape& shape) {
  bytes = std::max(bytes, static_cast<std::size_t>(shape.elements()) * size_bytes(dtype));
  channels = std::max(channels, static_cast<std::size_t>(codec::channels_of(shape)));
  rows = std::max(rows, static_cast<std::size_t>(codec::rows_of(shape)));
}

Result<void> check_codec_device(Device device, const std::vector<codec::Profile>& encoded) {
  if (device.is_cpu()) return {};
  for (const codec::Profile& profile : encoded) {
    if (is_encoded_on_devices(profile)) continue;
    return Error{Errc::kInvalidArgument, codec::to_string(profile) + " is not encoded on " + name(device),
                 "all modes but raw and budgets of bytes are; leave --device out for these"};
  }
  return check_cuda_device(device.index);
}

Result<std::unique_ptr<SendingEnd>> make_sending_end(Device device, codec::SenderSettings settings,
                                                     const codec::BasisStore& bases) {
  // Refuses calibrated streams without a calibration for both.
  PINION_TRY(codec::StreamSender sender, codec::StreamSender::create(settings, bases));
  if (!device.is_cpu()) return sending_end_on_device(device.index, std::move(settings));
  return std::unique_ptr<SendingEnd>(std::make_unique<CpuSendingEnd>(std::move(sender)));
}

Result<std::unique_ptr<ReceivingEnd>> make_receiving_end(
    Device device, std::shared_ptr<const codec::Calibration> calibration, int threads,
    const LargestTensor& largest) {
  if (!device.is_cpu()) return receiving_end_on_device(device.index, std::move(calibration), largest);
  return std::unique_ptr<ReceivingEnd>(
      std::make_unique<CpuReceivingEnd>(codec::StreamReceiver(std::move(calibration), false, threads)));
}

}  // namespace pinion::cli
