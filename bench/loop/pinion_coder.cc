#include "bench/loop/pinion_coder.h"

#include "bench/loop/scratch_folder.h"
#include "pinion/base/float_formats.h"
#include "pinion/codec/step_stream.h"

namespace pinion::bench {
namespace {

class PinionStream : public StreamCoder {
 public:
  PinionStream(codec::StreamSender sender, bool returns_float16)
      : sender_(std::move(sender)), returns_float16_(returns_float16) {}

  Result<PassedTensor> pass(const Tensor& tensor, const codec::StepContext& context) override {
    const Tensor sent = returns_float16_ ? converted(tensor, DType::kF16) : tensor;
    PINION_TRY(const codec::EncodedFrame coded, sender_.encode(sent, context));
    return PassedTensor{.received = sender_.decoded(),
                        .frame_bytes = static_cast<double>(coded.frame.size()),
                        .basis_bytes = static_cast<double>(coded.basis.size()),
                        .index_bits = coded.stats.ideal_index_bits,
                        .correction = sender_.correction(sent, context)};
  }

 private:
  codec::StreamSender sender_;
  bool returns_float16_;
};

class PinionCoder : public StateCoder {
 public:
  PinionCoder(const codec::Profile& profile, const codec::CalibrationSet& calibrations)
      : profile_(profile), calibrations_(calibrations) {}

  bool learns() const override { return profile_.mode == codec::Mode::kFidelity; }
  void stop_learning() override { bases_ = codec::BasisStore(folder_.path(), false); }

  Result<std::unique_ptr<StreamCoder>> open(const StreamPlace& place) const override {
    const bool is_velocity = place.stream == "velocity";
    const bool is_lossy =
        profile_.mode == codec::Mode::kFidelity || profile_.mode == codec::Mode::kCalibrated;
    const codec::CalibrationSet::Entry* entry = calibrations_.find(place.cut, place.stream);
    PINION_TRY(
        codec::StreamSender sender,
        codec::StreamSender::create({.profile = is_velocity ? codec::velocity_profile(profile_) : profile_,
                                     .calibration = entry == nullptr ? nullptr : entry->calibration,
                                     .step_streams = step_streams(place),
                                     .place = basis_place(place),
                                     .known_bases = codec::basis_hashes(bases_.load(basis_place(place))),
                                     .keeps_decoded = true,
                                     .has_latent_rows = place.stream != "text"},
                                    bases_));
    return {std::make_unique<PinionStream>(std::move(sender), is_velocity && is_lossy)};
  }

  Result<std::unique_ptr<StreamCoder>> open_latents() const override {
    const codec::Profile profile = codec::latents_profile(profile_);
    if (profile.mode == codec::Mode::kLossless) return std::unique_ptr<StreamCoder>();
    PINION_TRY(codec::StreamSender sender,
               codec::StreamSender::create({.profile = profile,
                                            .calibration = nullptr,
                                            .place = {.model_hash = "", .cut = 0, .stream = "latents"},
                                            .known_bases = {},
                                            .keeps_decoded = true},
                                           bases_));
    return {std::make_unique<PinionStream>(std::move(sender), false)};
  }

  std::size_t asset_bytes(const StreamPlace& place) const override {
    if (profile_.mode != codec::Mode::kCalibrated) {
      std::size_t bytes = 0;
      for (const Bytes& asset : bases_.load(basis_place(place))) bytes += asset.size();
      return bytes;
    }
    const codec::CalibrationSet::Entry* entry = calibrations_.find(place.cut, place.stream);
    return entry == nullptr ? 0 : entry->asset->size();
  }

 private:
  static codec::BasisPlace basis_place(const StreamPlace& place) {
    return {.model_hash = "", .cut = place.cut, .stream = place.stream};
  }

  std::vector<codec::StepStream> step_streams(const StreamPlace& place) const {
    std::vector<codec::StepStream> streams;
    if (profile_.mode != codec::Mode::kCalibrated) return streams;
    for (const auto& [stream, rows] : place.step_streams) {
      if (const auto* entry = calibrations_.find(place.cut, stream))
        streams.push_back({entry->calibration, rows});
    }
    return streams;
  }

  codec::Profile profile_;
  codec::CalibrationSet calibrations_;
  ScratchFolder folder_;
  codec::BasisStore bases_{folder_.path()};
};

}  // namespace

Result<std::unique_ptr<StateCoder>> make_pinion_coder(const codec::Profile& profile,
                                                      const codec::CalibrationSet& calibrations) {
  if (profile.mode == codec::Mode::kCalibrated && calibrations.empty()) {
    return Error{Errc::kInvalidArgument, "coder calibrated needs a calibration",
                 "make one with `pinion calibrate` and give it with --calibration"};
  }
  return {std::make_unique<PinionCoder>(profile, calibrations)};
}

}  // namespace pinion::bench
