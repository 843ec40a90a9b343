#include "pinion/codec/fidelity/basis.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/crc32c.h"
#include "pinion/base/sha256.h"
#include "pinion/codec/indices/class_choice.h"
#include "pinion/codec/indices/index_chunks.h"

namespace pinion::codec {
namespace {

constexpr std::array<std::uint8_t, 4> kBasisMagic = {'P', 'N', 'B', '1'};
constexpr std::uint8_t kBasisVersion = 1;
constexpr int kMaxExponent = 24;
constexpr ParamsKind kBasisParams = {.references = 0, .bands = 1, .offsets = false, .last_scales = {}};

Error broken_basis(std::string_view what) {
  return Error{Errc::kBadFormat, "codec basis: " + std::string(what), ""};
}

}  // namespace

BasisId basis_id(ByteSpan asset) {
  const Digest digest = sha256(asset);
  BasisId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

std::string basis_hash(ByteSpan basis) { return to_hex(basis_id(basis)); }

Bytes encode_basis(const Matrix& directions, std::span<const double> steps) {
  PINION_ASSERT(directions.rows == steps.size() && directions.rows > 0);
  std::vector<std::int32_t> values(directions.values.size());
  std::vector<std::uint8_t> exponents;
  for (std::size_t k = 0; k < directions.rows; ++k) {
    const int exponent = std::clamp(static_cast<int>(std::ceil(-std::log2(steps[k]))), 0, kMaxExponent);
    exponents.push_back(static_cast<std::uint8_t>(exponent));
    const auto row = directions.row(k);
    for (std::size_t c = 0; c < row.size(); ++c) {
      const float scaled = std::ldexp(row[c], exponent);
      PINION_ASSERT(std::abs(scaled) <= kMaxIndex);
      values[k * directions.columns + c] = static_cast<std::int32_t>(std::lround(scaled));
    }
  }
  IndexTables tables;
  ChunkPool alone;
  ComponentParams params;
  const std::array<std::size_t, 1> band_ends = {directions.columns};
  RunPrices runs(values, directions.columns, {}, 1, alone);
  const double bits = choose_index_classes(runs, {}, tables, alone, params);

  ByteWriter out;
  out.write_bytes(std::as_bytes(std::span(kBasisMagic)));
  out.write(kBasisVersion);
  write_varint(out, directions.columns);
  write_varint(out, directions.rows);
  BitWriter head;
  write_differences(head, exponents, {});
  write_params(head, params, kBasisParams);
  const Bytes head_bytes = std::move(head).finish();
  write_varint(out, head_bytes.size());
  out.write_bytes(head_bytes);
  write_index_chunks(out, choose_grid(params, directions.columns, bits),
                     {.params = params, .band_ends = band_ends, .values = values}, tables, alone);
  out.write(crc32c(out.view()));
  return std::move(out).take();
}

Result<std::shared_ptr<const Basis>> decode_basis(ByteSpan asset, const BasisLimits& limits) {
  if (asset.size() < kBasisMagic.size() + 1 + kChecksumBytes) {
    return Error{Errc::kNeedMoreBytes, "codec basis ends too early", ""};
  }
  ByteReader in(asset.first(asset.size() - kChecksumBytes));
  for (const std::uint8_t byte : kBasisMagic) {
    if (in.read<std::uint8_t>() != byte) return broken_basis("it does not start with PNB1");
  }
  if (const auto version = in.read<std::uint8_t>(); version != kBasisVersion) {
    return Error{Errc::kUnsupported,
                 "codec basis of version " + std::to_string(version) + ", this build reads version 1",
                 "use the same Pinion version on both sides"};
  }
  PINION_TRY_VOID(verify_checksum(asset));
  PINION_TRY(const std::uint64_t channels, read_varint(in, "codec basis"));
  PINION_TRY(const std::uint64_t components, read_varint(in, "codec basis"));
  if (components == 0 || components > channels || channels > kMaxExtent)
    return broken_basis("impossible size");
  if (channels > limits.max_channels || channels * components > limits.max_coefficients) {
    return Error{Errc::kTooLarge,
                 "codec basis of " + std::to_string(components) + " x " + std::to_string(channels) +
                     " coefficients is larger than accepted",
                 ""};
  }
  PINION_TRY(const std::uint64_t head_size, read_varint(in, "codec basis"));
  const ByteSpan head_bytes = in.take(head_size);
  PINION_TRY_VOID(in.check("codec basis"));
  if (components > head_bytes.size() * 8) return broken_basis("its parameters are cut short");
  BitReader head(head_bytes);
  PINION_TRY(const auto exponents, read_differences(head, components, kMaxExponent, {}));
  PINION_TRY(const ComponentParams params, read_params(head, components, kBasisParams));
  if (!head.ends_cleanly() || head.bytes_read() != head_bytes.size())
    return broken_basis("its parameters do not end cleanly");
  PINION_TRY(const IndexChunks coded, parse_index_chunks(in, params, channels));

  std::vector<std::int32_t> values(channels * components);
  const std::array<std::size_t, 1> band_ends = {channels};
  IndexTables tables;
  ChunkPool alone;
  PINION_TRY_VOID(decode_index_chunks(coded, {.params = params, .band_ends = band_ends, .values = values},
                                      tables, alone));
  auto basis = std::make_shared<Basis>();
  basis->id = basis_id(asset);
  basis->rows = Matrix(components, channels);
  for (std::size_t k = 0; k < components; ++k) {
    for (std::size_t c = 0; c < channels; ++c) {
      basis->rows.row(k)[c] = std::ldexp(static_cast<float>(values[k * channels + c]), -exponents[k]);
    }
  }
  return std::shared_ptr<const Basis>(std::move(basis));
}

}  // namespace pinion::codec
