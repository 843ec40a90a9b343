#include <algorithm>
#include <map>

#include "pinion/base/sha256.h"
#include "pinion/codec/bounded/bounded_codec.h"
#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/fidelity/basis.h"
#include "pinion/codec/fidelity/fidelity_decoder.h"
#include "pinion/codec/groups/group_codec.h"
#include "pinion/codec/lossless/lossless_codec.h"
#include "pinion/codec/mapped/latent_map.h"

namespace pinion::codec {
namespace {

Result<Tensor> decode_raw(const ParsedFrame& frame) {
  const std::size_t expected =
      static_cast<std::size_t>(frame.header.shape.elements()) * size_bytes(frame.header.dtype);
  if (frame.body.size() != expected) {
    return Error{Errc::kBadFormat,
                 "raw frame holds " + std::to_string(frame.body.size()) + " bytes, its tensor has " +
                     std::to_string(expected),
                 ""};
  }
  Tensor tensor = Tensor::empty(frame.header.dtype, frame.header.shape);
  std::copy(frame.body.begin(), frame.body.end(), tensor.mutable_data());
  return tensor;
}

class StreamDecoder final : public Decoder {
 public:
  explicit StreamDecoder(int threads) : pool_(threads) {}

  Result<void> add_basis(ByteSpan asset, const BasisLimits& limits) override {
    if (bases_.contains(basis_id(asset))) return {};
    const std::uint64_t most = std::min(limits.max_coefficients, kMaxBasisCoefficients);
    PINION_TRY(const auto basis,
               decode_basis(asset, {.max_channels = limits.max_channels,
                                    .max_coefficients = most - std::min(most, coefficients_)}));
    coefficients_ += basis->rows.values.size();
    bases_.emplace(basis->id, basis);
    return {};
  }

  using Decoder::decode;
  Result<Tensor> decode(ByteSpan bytes, std::span<const float> latents, const DecodeLimits& limits) override {
    PINION_TRY(const ParsedFrame frame,
               parse_frame(bytes, limits, {.calibrated = false, .mapped = !latents.empty()}));
    PINION_TRY_VOID(verify_checksum(bytes));
    switch (frame.header.mode) {
      case Mode::kRaw:
        return decode_raw(frame);
      case Mode::kLossless:
        return lossless_.decode(frame);
      case Mode::kFidelity: {
        PINION_TRY(DecodedFrame decoded, decode_inter(frame));
        state_ = std::move(decoded.state);
        return std::move(decoded.tensor);
      }
      case Mode::kMapped:
        return decode_about_map(frame, latents);
      case Mode::kBounded:
        return bounded_.decode(frame);
      case Mode::kInt8:
      case Mode::kInt4:
        return decode_groups(frame.header, frame.body, pool_);
      case Mode::kCalibrated:
        break;  // parse_frame refused it
    }
    return Error{Errc::kInternal, "coded frame of a mode that was not checked", ""};
  }

 private:
  Result<const Basis*> basis_of(const FrameHeader& header) const {
    if (!header.basis) return nullptr;
    const auto found = bases_.find(*header.basis);
    if (found != bases_.end()) return found->second.get();
    return Error{Errc::kNotFound, "coded frame needs basis " + to_hex(*header.basis) + ", which is not here",
                 "send the basis first"};
  }

  // The stream's state stays as it is.
  Result<DecodedFrame> decode_inter(const ParsedFrame& frame) {
    PINION_TRY(const Basis* basis, basis_of(frame.header));
    return decode_fidelity(frame, basis, state_ ? &*state_ : nullptr, tables_, pool_);
  }

  Result<Tensor> decode_about_map(const ParsedFrame& frame, std::span<const float> latents) {
    PINION_TRY(const Basis* map, basis_of(frame.header));
    if (map == nullptr) return Error{Errc::kBadFormat, "coded frame of mode mapped names no map", ""};
    PINION_TRY_VOID(check_mapped(frame.header, map->rows, latents));
    PINION_TRY(const ParsedFrame inner, parse_inner_frame(frame));
    PINION_TRY(DecodedFrame decoded, decode_inter(inner));
    state_ = std::move(decoded.state);
    return join_mapped(frame.header, map_latents(latents, map->rows), decoded.tensor);
  }

  std::map<BasisId, std::shared_ptr<const Basis>> bases_;
  std::uint64_t coefficients_ = 0;
  std::optional<StreamState> state_;
  IndexTables tables_;
  ChunkPool pool_;
  LosslessDecoder lossless_{pool_};
  BoundedDecoder bounded_{pool_};
};

}  // namespace

BasisLimits BasisLimits::for_channels(std::size_t channels) {
  // Two kept bases, two kept maps and a new one of each; where latents are as wide as the stream, as a
  // velocity's are, a map is whole. Others that pay are far from it, so many more fit.
  constexpr std::uint64_t kWholeBases = 8;
  const std::uint64_t most = kMaxBasisCoefficients / std::max<std::uint64_t>(1, channels);
  const std::uint64_t coefficients = channels < most ? channels * channels : kMaxBasisCoefficients;
  return {.max_channels = channels,
          .max_coefficients = std::min(kWholeBases * coefficients, kMaxBasisCoefficients)};
}

std::unique_ptr<Decoder> Decoder::create(int threads) { return std::make_unique<StreamDecoder>(threads); }

Result<FrameInfo> inspect(ByteSpan bytes, const DecodeLimits& limits) {
  PINION_TRY(const ParsedFrame frame, parse_frame(bytes, limits));
  FrameInfo info{.mode = frame.header.mode,
                 .dtype = frame.header.dtype,
                 .shape = frame.header.shape,
                 .frame_bytes = bytes.size(),
                 .basis_hash = frame.header.basis ? to_hex(*frame.header.basis) : "",
                 .key_frame = !frame.header.previous.has_value(),
                 .step_size = 0,
                 .output_snr_db = 0};
  if (info.mode == Mode::kFidelity) info.step_size = ByteReader(frame.body).read<float>();
  if (info.mode == Mode::kMapped) {
    PINION_TRY(const ParsedFrame inner, parse_inner_frame(frame));
    info.key_frame = !inner.header.previous.has_value();
    info.step_size = ByteReader(inner.body).read<float>();
  }
  if (info.mode == Mode::kCalibrated && info.shape.elements() > 0) {
    ByteReader body(frame.body);
    PINION_TRY(const CalibratedParams params, read_calibrated_params(body));
    info.step_size = params.step(0);
    info.output_snr_db = params.output_snr / 100.0;
  }
  return info;
}

}  // namespace pinion::codec
