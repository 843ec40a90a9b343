#include "pinion/cli/codec_files.h"

#include <fmt/core.h>

#include <map>

#include "pinion/cli/codec_info.h"
#include "pinion/codec/container.h"
#include "pinion/codec/frame_format.h"

namespace pinion::cli {
namespace {

// What the frames of a file need besides themselves.
class FrameNeeds {
 public:
  static Result<FrameNeeds> open(const DecodeFileRequest& request, const codec::Container& container,
                                 const codec::DecodeLimits& limits) {
    FrameNeeds needs;
    for (const codec::ContainerFrame& frame : container.frames) {
      const auto info = codec::inspect(frame.frame, limits);
      if (info.ok()) needs.largest_[frame.stream].take(info->dtype, info->shape);
    }
    for (const ByteSpan basis : container.bases) needs.bases_.emplace(codec::basis_hash(basis), basis);
    if (!request.context.empty()) {
      PINION_TRY(needs.context_, SequenceContext::open(request.context));
    }
    if (request.calibration.empty()) return needs;
    PINION_TRY(
        needs.calibrations_,
        codec::CalibrationSet::open(request.calibration, needs.context_ ? needs.context_->model_hash() : ""));
    needs.calibration_file_ = request.calibration.string();
    return needs;
  }

  // The calibration of a stream, null if its first frame is of another mode.
  Result<std::shared_ptr<const codec::Calibration>> calibration(const codec::FrameInfo& first) const {
    std::shared_ptr<const codec::Calibration> found;
    if (first.mode != codec::Mode::kCalibrated || first.basis_hash.empty()) return found;
    if (calibrations_.empty() || !context_) {
      return Error{Errc::kInvalidArgument, "the frame is calibrated",
                   "give the files it was coded with: --calibration FILE and --context FILE"};
    }
    calibrations_.for_each([&](int, const std::string&, const auto& entry) {
      if (codec::calibration_id(*entry.calibration) == first.basis_hash) found = entry.calibration;
    });
    if (found) return found;
    return Error{Errc::kNotFound,
                 "the frame needs the calibration " + first.basis_hash + ", which is not in " +
                     calibration_file_ + "; that has " + calibrations_.describe(),
                 "give the file that the frame was coded with"};
  }

  // The context of a frame by its name and that of the frame before it in its stream.
  Result<codec::StepContext> context(const codec::FrameInfo& info, const std::string& name,
                                     const std::string& before) {
    if (info.mode != codec::Mode::kCalibrated || !context_) return codec::StepContext{};
    return context_->at(name, before);
  }

  // Of the frames of a stream that can be decoded.
  LargestTensor largest(std::uint64_t stream) const {
    const auto found = largest_.find(stream);
    return found == largest_.end() ? LargestTensor() : found->second;
  }

  // Adds the basis that a frame needs, if the file has it. A stream holds no other, so that a file of many
  // streams takes no more memory than its tensors' widths call for.
  Result<void> add_basis(ReceivingEnd& receiver, const codec::FrameInfo& info) const {
    const auto found = bases_.find(info.basis_hash);
    if (found == bases_.end()) return {};
    const auto channels = static_cast<std::size_t>(codec::channels_of(info.shape));
    return receiver.add_basis(found->second, codec::BasisLimits::for_channels(channels));
  }

 private:
  std::map<std::uint64_t, LargestTensor> largest_;  // by stream
  std::map<std::string, ByteSpan> bases_;
  codec::CalibrationSet calibrations_;
  std::string calibration_file_;
  std::optional<SequenceContext> context_;
};

std::string on_device(Device device) { return device.is_cpu() ? "" : " on " + name(device); }

struct OpenStream {
  std::unique_ptr<ReceivingEnd> receiver;
  std::string before;  // name of the last frame
};

Result<Tensor> decode_next(const codec::ContainerFrame& frame, FrameNeeds& needs,
                           std::map<std::uint64_t, OpenStream>& streams, const DecodeFileRequest& request,
                           const codec::DecodeLimits& limits) {
  PINION_TRY(const codec::FrameInfo info, codec::inspect(frame.frame, limits));
  auto stream = streams.find(frame.stream);
  if (stream == streams.end()) {
    PINION_TRY(auto calibration, needs.calibration(info));
    PINION_TRY(auto receiver, make_receiving_end(request.device, std::move(calibration), request.threads,
                                                 needs.largest(frame.stream)));
    stream = streams.emplace(frame.stream, OpenStream{std::move(receiver), ""}).first;
  }
  PINION_TRY_VOID(needs.add_basis(*stream->second.receiver, info));
  PINION_TRY(const codec::StepContext context, needs.context(info, frame.name, stream->second.before));
  PINION_TRY(ReceivingEnd::Received received, stream->second.receiver->decode(frame.frame, context, limits));
  stream->second.before = frame.name;
  return std::move(received.tensor);
}

}  // namespace

Result<std::string> encode_file(const EncodeFileRequest& request) {
  PINION_TRY_VOID(check_codec_device(request.input.device, {request.profile}));
  PINION_TRY_VOID(check_calibration_given({request.profile}, request.input.calibration));
  PINION_TRY(CodecInput input, CodecInput::open(request.input));
  std::vector<Bytes> assets;
  struct NamedFrame {
    std::string name;
    std::uint64_t stream;
    Bytes frame;
  };
  std::vector<NamedFrame> frames;
  std::size_t tensor_bytes = 0;
  std::int64_t made_finite = 0;
  for (std::size_t s = 0; s < input.streams().size(); ++s) {
    const TensorStream& stream = input.streams()[s];
    PINION_TRY(const auto sender, input.sender(stream, request.profile));
    for (std::size_t i = 0; i < stream.tensors.size(); ++i) {
      PINION_TRY(const CodecInput::Step step, input.step(stream, i, request.profile));
      auto sent = sender->encode(step.tensor, step.context);
      if (!sent.ok()) return input.in_tensor(std::move(sent).error(), step.name);
      codec::EncodedFrame& encoded = sent->encoded;
      if (!encoded.basis.empty()) assets.push_back(std::move(encoded.basis));
      frames.push_back({step.name, s, std::move(encoded.frame)});
      tensor_bytes += step.tensor.bytes();
      made_finite += step.made_finite;
    }
  }
  codec::Container container;
  for (const Bytes& asset : assets) container.bases.push_back(asset);
  for (const NamedFrame& named : frames) container.frames.push_back({named.name, named.stream, named.frame});
  const Bytes content = codec::write_container(container);
  PINION_TRY_VOID(write_file(request.out, content));
  return fmt::format(
      "{}: {} tensors, {} bytes as {} bytes ({:.2f}x){}{}", request.out.string(), frames.size(), tensor_bytes,
      content.size(), static_cast<double>(tensor_bytes) / static_cast<double>(content.size()),
      on_device(request.input.device),
      request.input.sanitises ? fmt::format("; not finite and changed: {} elements", made_finite) : "");
}

Result<std::string> decode_file(const DecodeFileRequest& request) {
  PINION_TRY_VOID(check_codec_device(request.device, {}));
  PINION_TRY(const auto file, MappedFile::open(request.in));
  auto container = codec::parse_container(file->bytes());
  if (!container.ok()) return std::move(container).error().in(request.in.string());
  PINION_TRY(FrameNeeds needs, FrameNeeds::open(request, *container, file_limits(*file)));
  std::map<std::uint64_t, OpenStream> streams;
  TensorList tensors;
  for (const codec::ContainerFrame& frame : container->frames) {
    auto tensor = decode_next(frame, needs, streams, request, file_limits(*file));
    if (!tensor.ok()) return std::move(tensor).error().in(request.in.string() + ": " + frame.name);
    tensors.push_back({frame.name, std::move(tensor).value()});
  }
  PINION_TRY_VOID(write_safetensors(request.out, tensors));
  return fmt::format("{}: {} tensors{}", request.out.string(), tensors.size(), on_device(request.device));
}

}  // namespace pinion::cli
