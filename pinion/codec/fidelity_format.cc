#include "pinion/codec/fidelity_format.h"

#include <algorithm>
#include <cmath>

namespace pinion::codec {
namespace {

constexpr int kShapeBits = 2;
constexpr int kScaleBits = 8;
constexpr int kCoefficientShift = 6;  // log2 kCoefficientOne
static_assert(1 << kCoefficientShift == kCoefficientOne);

Error broken(std::string_view what) {
  return Error{Errc::kBadFormat, "fidelity frame: " + std::string(what), ""};
}

Result<void> read_mean_params(BitReader& in, bool inter, FidelityParams& params) {
  params.mean_class.shape = static_cast<std::uint8_t>(in.read(kShapeBits));
  params.mean_class.scale = static_cast<std::uint8_t>(in.read(kScaleBits));
  if (inter) params.mean_coefficient = static_cast<std::uint8_t>(in.read(kCoefficientBits));
  if (params.mean_class.scale > max_scale(params.mean_class.shape))
    return broken("impossible class of the means");
  return {};
}

// round(previous * coefficient / 64 * ratio / 2^16 * 2^extra) with ties up; |previous| ≤ kMaxState keeps it
// in 64 bits.
void predict(std::span<const std::int32_t> previous, std::uint8_t coefficient, std::uint32_t ratio, int extra,
             std::span<std::int64_t> out) {
  const std::int64_t factor = std::int64_t{coefficient} * ratio;
  const int shift = kCoefficientShift + kRatioBits - extra;
  const std::int64_t half = std::int64_t{1} << (shift - 1);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = (previous[i] * factor + half) >> shift;
}

}  // namespace

void write_fidelity_params(ByteWriter& out, const FidelityParams& params, bool inter) {
  out.write(params.step);
  out.write(static_cast<std::uint8_t>(params.mean_shift));
  if (inter) write_varint(out, params.ratio);
  write_varint(out, params.component_count());
  BitWriter bits;
  bits.write(params.mean_class.shape, kShapeBits);
  bits.write(params.mean_class.scale, kScaleBits);
  if (inter) bits.write(params.mean_coefficient, kCoefficientBits);
  write_params(bits, params.components, {.coefficients = inter, .offsets = true});
  const Bytes packed = std::move(bits).finish();
  write_varint(out, packed.size());
  out.write_bytes(packed);
}

Result<FidelityBody> parse_fidelity(const FrameHeader& header, ByteSpan bytes, std::size_t max_components) {
  const bool inter = header.previous.has_value();
  ByteReader in(bytes);
  FidelityBody body;
  FidelityParams& params = body.params;
  params.step = in.read<float>();
  params.mean_shift = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("fidelity frame"));
  if (!std::isnormal(params.step) || params.step < 0) return broken("impossible step");
  if (params.mean_shift > kMaxMeanShift) return broken("impossible step of the means");
  if (inter) {
    PINION_TRY(const std::uint64_t ratio, read_varint(in, "fidelity frame"));
    if (ratio == 0 || ratio > kMaxRatio) return broken("impossible ratio of steps");
    params.ratio = static_cast<std::uint32_t>(ratio);
  }
  PINION_TRY(const std::uint64_t components, read_varint(in, "fidelity frame"));
  PINION_TRY(const std::uint64_t packed_size, read_varint(in, "fidelity frame"));
  if (components > max_components) return broken("more components than the basis has");
  const ByteSpan packed = in.take(packed_size);
  PINION_TRY_VOID(in.check("fidelity frame"));
  if (components > packed.size() * 8) return broken("its parameters are cut short");
  BitReader bits(packed);
  PINION_TRY_VOID(read_mean_params(bits, inter, params));
  PINION_TRY(params.components, read_params(bits, components, {.coefficients = inter, .offsets = true}));
  if (!bits.ends_cleanly() || bits.bytes_read() != packed.size())
    return broken("its parameters do not end cleanly");
  PINION_TRY(body.chunks,
             parse_index_chunks(in, params.components, static_cast<std::size_t>(rows_of(header.shape))));
  return body;
}

Predictor::Predictor(const FidelityParams& params, const StreamState* previous)
    : params_(params), previous_(previous) {}

void Predictor::component(std::size_t k, std::span<std::int64_t> out) const {
  const std::size_t begin = k * out.size();
  if (previous_ == nullptr || begin >= previous_->components.size() ||
      params_.components.coefficients[k] == 0) {
    std::fill(out.begin(), out.end(), 0);
    return;
  }
  predict(std::span(previous_->components).subspan(begin, out.size()), params_.components.coefficients[k],
          params_.ratio, 0, out);
}

void Predictor::means(std::span<std::int64_t> out) const {
  if (previous_ == nullptr) {
    std::fill(out.begin(), out.end(), 0);
    return;
  }
  predict(previous_->means, params_.mean_coefficient, params_.ratio,
          params_.mean_shift - previous_->mean_shift, out);
}

Result<void> advance(std::span<const std::int64_t> prediction, std::span<const std::int32_t> residuals,
                     BinOffsets offsets, std::span<std::int32_t> state) {
  std::int64_t largest = 0;
  for (std::size_t i = 0; i < state.size(); ++i) {
    const std::int64_t r = residuals[i];
    const int offset = r == 0 ? 0 : (r == 1 || r == -1) ? offsets.one : offsets.more;
    const std::int64_t next = prediction[i] + r * kStateOne - (r > 0 ? offset : -offset);
    largest = std::max(largest, next < 0 ? -next : next);
    state[i] = static_cast<std::int32_t>(next);
  }
  if (largest > kMaxState) return broken("a value leaves the range of the state");
  return {};
}

}  // namespace pinion::codec
