#include "pinion/cli/codec_on_device.h"

#include <set>

#include "pinion/base/stopwatch.h"
#include "pinion/codec/cuda/cuda_memory.h"
#include "pinion/codec/cuda/device_calibrated_codec.h"
#include "pinion/codec/cuda/device_fidelity_codec.h"
#include "pinion/codec/frame_format.h"

namespace pinion::cli {
namespace {

// Kernels are loaded by the first call and put into a graph by the second: what is measured comes after
// these.
constexpr int kWarmUps = 2;
// Encoders of fidelity have a graph for each number of earlier frames and each place of the states of these,
// and have come to all of them, and to where they were, after so many frames.
constexpr int kFidelityFrames = 6;

using codec::cuda::check;
using codec::cuda::DeviceMemory;
using codec::cuda::DeviceScope;

Result<void> upload(ByteSpan bytes, DeviceMemory& memory) {
  if (bytes.empty()) return {};
  PINION_TRY_VOID(memory.reserve(bytes.size()));
  return check(cudaMemcpy(memory.data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice),
               "cannot send a tensor");
}

// What both ends know of a step, in the device's memory: what a job's sampler leaves there.
class ContextOnDevice {
 public:
  Result<codec::DeviceStepContext> of(const codec::StepContext& context, bool has_latents) {
    codec::DeviceStepContext there{.sigma = context.sigma,
                                   .previous_sigma = context.previous_sigma,
                                   .output_rows = context.output_rows,
                                   .grid = context.grid};
    if (!has_latents) return there;
    PINION_TRY_VOID(upload(std::as_bytes(context.latents), now_));
    PINION_TRY_VOID(upload(std::as_bytes(context.previous_latents), before_));
    if (!context.latents.empty()) there.latents = reinterpret_cast<const float*>(now_.data());
    if (!context.previous_latents.empty())
      there.previous_latents = reinterpret_cast<const float*>(before_.data());
    return there;
  }

 private:
  DeviceMemory now_, before_;
};

// Encoders on a device take memory for the largest tensor they are made for, so each is made for the first
// that comes, and anew for a larger one, which begins with a key frame. False: the limits hold it already.
bool raise_to(codec::DecodeLimits& limits, std::size_t bytes, const Shape& shape) {
  const auto channels = static_cast<std::size_t>(codec::channels_of(shape));
  if (bytes <= limits.max_tensor_bytes && channels <= limits.max_channels) return false;
  limits = {.max_tensor_bytes = std::max(bytes, limits.max_tensor_bytes),
            .max_channels = std::max(channels, limits.max_channels)};
  return true;
}

SendingEnd::Sent sent_frame(ByteSpan frame, bool is_key, double ms) {
  SendingEnd::Sent made{.encoded = {}, .ms = ms};
  made.encoded.frame.assign(frame.begin(), frame.end());
  made.encoded.stats.key_frame = is_key;
  return made;
}

// Fidelity, whose basis is the CPU's to find: for the first tensor, and for one that is out of its reach, as
// steps that have gone far from the first may be.
class FidelitySender {
 public:
  FidelitySender(int device, double target_snr_db) : device_(device), target_snr_db_(target_snr_db) {}

  Result<SendingEnd::Sent> encode(const TensorView& tensor) {
    const bool learns = !fits_ || codec::channels_of(tensor.shape) != channels_;
    if (raise_to(limits_, tensor.bytes(), tensor.shape) || encoder_ == nullptr) {
      // Who names a device gets its frames, larger than the CPU's as they may be.
      PINION_TRY(encoder_, codec::DeviceFidelityEncoder::create(target_snr_db_, limits_,
                                                                {.device = device_, .most_band_loss = 1}));
      is_begun_ = false;
      if (!learns) PINION_TRY_VOID(begin(tensor));
    }
    if (learns) PINION_TRY_VOID(learn(tensor));
    PINION_TRY(Timed made, encode_timed(tensor));
    if (made.frame.is_exact && !learns) {
      PINION_TRY_VOID(learn(tensor));
      PINION_TRY(made, encode_timed(tensor));
    }
    fits_ = !made.frame.is_exact;
    PINION_TRY(const ByteSpan bytes, encoder_->copy_to_host(nullptr));
    SendingEnd::Sent sent = sent_frame(bytes, made.frame.frame.key_frame, made.ms);
    if (fits_ && !basis_.empty() && sent_bases_.insert(codec::basis_hash(basis_)).second)
      sent.encoded.basis = basis_;
    sent.encoded.stats.basis_bytes = sent.encoded.basis.size();
    sent.encoded.stats.snr_db = made.frame.snr_db;
    return sent;
  }

 private:
  struct Timed {
    codec::DeviceFidelityFrame frame;
    double ms = 0;
  };

  Result<Timed> encode_timed(const TensorView& tensor) {
    const Stopwatch watch;
    PINION_TRY(const codec::DeviceFidelityFrame frame, encoder_->encode(tensor, nullptr));
    return Timed{frame, watch.elapsed_ms()};
  }

  Result<void> learn(const TensorView& tensor) {
    PINION_TRY(Bytes learned, encoder_->learn_basis(tensor, nullptr));
    channels_ = codec::channels_of(tensor.shape);
    if (is_begun_ && learned == basis_) return {};
    basis_ = std::move(learned);
    return begin(tensor);
  }

  // The stream anew, in the basis that is known.
  Result<void> begin(const TensorView& tensor) {
    PINION_TRY_VOID(encoder_->use_basis(basis_));
    for (int i = 0; i < kWarmUps; ++i) {
      for (int frame = 0; frame < kFidelityFrames; ++frame)
        PINION_TRY_VOID(encoder_->encode(tensor, nullptr));
      encoder_->restart();
    }
    is_begun_ = true;
    return {};
  }

  int device_;
  double target_snr_db_;
  codec::DecodeLimits limits_ = {.max_tensor_bytes = 0, .max_channels = 0};  // of the encoder
  std::unique_ptr<codec::DeviceFidelityEncoder> encoder_;
  Bytes basis_;                       // empty: none pays
  std::int64_t channels_ = 0;         // that it is for
  bool is_begun_ = false;             // whether the encoder has it
  bool fits_ = false;                 // whether the last tensor was not sent exactly
  std::set<std::string> sent_bases_;  // hashes
};

class DeviceSendingEnd final : public SendingEnd {
 public:
  DeviceSendingEnd(int device, codec::SenderSettings settings)
      : device_(device), settings_(std::move(settings)), fidelity_(device, settings_.profile.target_snr_db) {}

  Result<Sent> encode(const Tensor& tensor, const codec::StepContext& context) override {
    const DeviceScope scope(device_);
    PINION_TRY_VOID(upload(tensor.view().span(), tensor_));
    TensorView there = tensor.view();
    there.data = tensor_.data();
    there.device = {Device::Kind::kCuda, device_};
    Sent sent = {};
    codec::FrameStats& stats = sent.encoded.stats;
    if (settings_.profile.mode == codec::Mode::kCalibrated) {
      PINION_TRY(sent, encode_calibrated(there, context));
    } else if (settings_.profile.mode == codec::Mode::kFidelity) {
      PINION_TRY(sent, fidelity_.encode(there));
    } else {
      PINION_TRY(sent, encode_plain(there));
    }
    stats.frame_bytes = sent.encoded.frame.size();
    stats.tensor_bytes = tensor.bytes();
    stats.elements = tensor.elements();
    return sent;
  }

 private:
  Result<Sent> encode_plain(const TensorView& tensor) {
    const auto encode = [&] { return plain_->encode(tensor, nullptr); };
    if (raise_to(limits_, tensor.bytes(), tensor.shape) || plain_ == nullptr) {
      PINION_TRY(plain_,
                 codec::DeviceEncoder::create(settings_.profile.mode, limits_,
                                              {.device = device_,
                                               .error_bound = settings_.profile.error_bound,
                                               .bound_is_relative = settings_.profile.bound_is_relative}));
      for (int i = 0; i < kWarmUps; ++i) {
        PINION_TRY_VOID(encode());
        plain_->restart();
      }
    }
    const Stopwatch watch;
    PINION_TRY(const codec::DeviceFrame frame, encode());
    const double ms = watch.elapsed_ms();
    PINION_TRY(const ByteSpan bytes, plain_->copy_to_host(nullptr));
    return sent_frame(bytes, frame.key_frame, ms);
  }

  Result<Sent> encode_calibrated(const TensorView& tensor, const codec::StepContext& context) {
    const auto& calibration = settings_.calibration;
    PINION_TRY(const codec::DeviceStepContext known, context_.of(context, calibration->latents() > 0));
    const auto encode = [&] { return calibrated_->encode(tensor, known, nullptr); };
    const auto rows = static_cast<std::size_t>(codec::rows_of(tensor.shape));
    const codec::CalibratedTarget target = target_of(context);
    if (calibrated_ == nullptr || rows > most_rows_) {
      most_rows_ = std::max(rows, most_rows_);
      PINION_TRY(auto there, codec::DeviceCalibration::upload(calibration, device_));
      PINION_TRY(calibrated_, codec::DeviceCalibratedEncoder::create(std::move(there), target, most_rows_));
      for (int i = 0; i < kWarmUps; ++i) {
        PINION_TRY_VOID(encode());
        calibrated_->restart();
      }
    }
    calibrated_->set_target(target);
    const Stopwatch watch;
    PINION_TRY(const codec::DeviceCalibratedFrame coded, encode());
    const double ms = watch.elapsed_ms();
    PINION_TRY(const ByteSpan bytes, calibrated_->copy_to_host(nullptr));
    Sent made = sent_frame(bytes, coded.frame.key_frame, ms);
    made.encoded.stats.output_snr_db = coded.predicted_output_snr_db;
    return made;
  }

  // This stream's share of what is asked for.
  codec::CalibratedTarget target_of(const codec::StepContext& context) const {
    const codec::CalibratedTarget whole{.output_snr_db = settings_.profile.target_snr_db};
    if (settings_.step_streams.empty()) return whole;
    const auto at =
        std::ranges::find(settings_.step_streams, settings_.calibration, &codec::StepStream::calibration);
    const auto stream = static_cast<std::size_t>(at - settings_.step_streams.begin());
    return codec::share_of(whole, settings_.step_streams, stream, context);
  }

  int device_;
  codec::SenderSettings settings_;
  DeviceMemory tensor_;
  ContextOnDevice context_;
  FidelitySender fidelity_;
  std::unique_ptr<codec::DeviceEncoder> plain_;
  std::unique_ptr<codec::DeviceCalibratedEncoder> calibrated_;
  codec::DecodeLimits limits_ = {.max_tensor_bytes = 0, .max_channels = 0};  // of plain_
  std::size_t most_rows_ = 0;                                                // of calibrated_
};

class DeviceReceivingEnd final : public ReceivingEnd {
 public:
  DeviceReceivingEnd(int device, std::shared_ptr<const codec::Calibration> calibration,
                     const LargestTensor& largest)
      : device_(device), calibration_(std::move(calibration)), largest_(largest) {}

  Result<void> add_basis(ByteSpan basis, const codec::BasisLimits& limits) override {
    const DeviceScope scope(device_);
    PINION_TRY_VOID(make_plain());
    return plain_->add_basis(basis, limits);
  }

  Result<Received> decode(ByteSpan frame, const codec::StepContext& context,
                          const codec::DecodeLimits& limits) override {
    const DeviceScope scope(device_);
    PINION_TRY(const codec::FrameInfo info, codec::inspect(frame, limits));
    const auto bytes = static_cast<std::size_t>(info.shape.elements()) * size_bytes(info.dtype);
    PINION_TRY_VOID(out_.reserve(std::max<std::size_t>(bytes, 1)));
    PINION_TRY_VOID(upload(frame, frame_));
    if (info.mode == codec::Mode::kCalibrated && calibration_ != nullptr)
      return decode_calibrated(frame, context, info, limits);
    return decode_plain(frame, info);
  }

 private:
  std::span<std::byte> out() const { return {out_.data(), out_.bytes()}; }

  // One for the whole stream, whose state it keeps.
  Result<void> make_plain() {
    if (plain_ != nullptr) return {};
    PINION_TRY(plain_, codec::DeviceDecoder::create(
                           {.max_tensor_bytes = largest_.bytes, .max_channels = largest_.channels},
                           {.device = device_}));
    return {};
  }

  Result<Received> decode_plain(ByteSpan frame, const codec::FrameInfo& info) {
    PINION_TRY_VOID(make_plain());
    const auto decode = [&] { return plain_->decode(frame, out(), nullptr, frame_.data()); };
    if (info.key_frame && !std::exchange(is_plain_warm_, true)) {
      for (int i = 0; i < kWarmUps; ++i) PINION_TRY_VOID(decode());
    }
    const Stopwatch watch;
    PINION_TRY(const TensorView decoded, decode());
    return received(decoded, watch);
  }

  Result<Received> decode_calibrated(ByteSpan frame, const codec::StepContext& context,
                                     const codec::FrameInfo& info, const codec::DecodeLimits& limits) {
    PINION_TRY(const codec::DeviceStepContext known, context_.of(context, calibration_->latents() > 0));
    const auto decode = [&] {
      return calibrated_->decode(frame, known, out(), limits, nullptr, frame_.data());
    };
    if (calibrated_ == nullptr) {
      PINION_TRY(auto there, codec::DeviceCalibration::upload(calibration_, device_));
      PINION_TRY(calibrated_, codec::DeviceCalibratedDecoder::create(std::move(there), largest_.rows));
      for (int i = 0; i < kWarmUps && info.key_frame; ++i) PINION_TRY_VOID(decode());
    }
    const Stopwatch watch;
    PINION_TRY(const TensorView decoded, decode());
    return received(decoded, watch);
  }

  static Result<Received> received(const TensorView& there, const Stopwatch& watch) {
    Received made{.tensor = {}, .ms = watch.elapsed_ms()};
    made.tensor = Tensor::empty(there.dtype, there.shape);
    if (there.bytes() == 0) return made;
    PINION_TRY_VOID(
        check(cudaMemcpy(made.tensor.mutable_data(), there.data, there.bytes(), cudaMemcpyDeviceToHost),
              "cannot fetch a tensor"));
    return made;
  }

  int device_;
  std::shared_ptr<const codec::Calibration> calibration_;
  const LargestTensor largest_;
  DeviceMemory frame_, out_;
  ContextOnDevice context_;
  std::unique_ptr<codec::DeviceDecoder> plain_;
  bool is_plain_warm_ = false;
  std::unique_ptr<codec::DeviceCalibratedDecoder> calibrated_;
};

}  // namespace

Result<void> check_cuda_device(int device) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) devices = 0;
  cudaGetLastError();
  if (device >= 0 && device < devices) return {};
  return Error{
      Errc::kUnsupported,
      "there is no CUDA device " + std::to_string(device) + ", " + std::to_string(devices) + " are here",
      "leave --device out; `pinion doctor` says what is missing"};
}

Result<std::unique_ptr<SendingEnd>> sending_end_on_device(int device, codec::SenderSettings settings) {
  return std::unique_ptr<SendingEnd>(std::make_unique<DeviceSendingEnd>(device, std::move(settings)));
}

Result<std::unique_ptr<ReceivingEnd>> receiving_end_on_device(
    int device, std::shared_ptr<const codec::Calibration> calibration, const LargestTensor& largest) {
  return std::unique_ptr<ReceivingEnd>(
      std::make_unique<DeviceReceivingEnd>(device, std::move(calibration), largest));
}

}  // namespace pinion::cli
