#include "pinion/codec/cuda/fidelity_on_device.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pinion/base/float_formats.h"
#include "pinion/base/sha256.h"
#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/fidelity/basis.h"
#include "pinion/codec/fidelity/fidelity_decoder.h"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kPitch = 8;  // of products, numbers
constexpr int kPartExponent = 15;    // of the largest coefficient of a channel, scaled

std::uint32_t pitch_of(std::size_t components) {
  return static_cast<std::uint32_t>((components + kPitch - 1) / kPitch * kPitch);
}

// A basis as BasisOnDevice has it, in host memory.
struct SplitBasis {
  std::vector<std::uint16_t> high, low;
  std::vector<float> scales;
  bool is_exact = true;  // without `low`
  bool fits = true;
};

SplitBasis split(const Matrix& rows) {
  const std::size_t components = rows.rows, channels = rows.columns, pitch = pitch_of(components);
  SplitBasis basis{std::vector<std::uint16_t>(2 * channels * pitch),
                   std::vector<std::uint16_t>(2 * channels * pitch), std::vector<float>(channels, 1.0f)};
  std::vector<float> largest(channels);
  for (std::size_t k = 0; k < components; ++k) {
    for (std::size_t c = 0; c < channels; ++c) largest[c] = std::max(largest[c], std::fabs(rows.row(k)[c]));
  }
  std::vector<int> exponents(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    if (largest[c] > 0) exponents[c] = kPartExponent - 1 - std::ilogb(largest[c]);
    basis.scales[c] = std::ldexp(1.0f, -exponents[c]);
  }
  for (std::size_t k = 0; k < components; ++k) {
    for (std::size_t c = 0; c < channels; ++c) {
      const float coefficient = rows.row(k)[c], scaled = std::ldexp(coefficient, exponents[c]);
      const std::uint16_t high = float_to_f16(scaled);
      const float rest = scaled - f16_to_float(high);
      const std::uint16_t low = float_to_f16(rest);
      for (const std::size_t at : {2 * c * pitch + k, (2 * c + 1) * pitch + k}) {
        basis.high[at] = high;
        basis.low[at] = low;
      }
      basis.is_exact = basis.is_exact && rest == 0;
      const float error = std::fabs(rest - f16_to_float(low));
      basis.fits = basis.fits && error <= std::ldexp(std::fabs(scaled), -22);
    }
  }
  return basis;
}

template <class T>
Result<void> send(const std::vector<T>& from, const T* to) {
  return check(cudaMemcpy(const_cast<T*>(to), from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice),
               "cannot send a basis");
}

}  // namespace

Result<void> FidelityOnDevice::add_basis(ByteSpan asset, const BasisLimits& limits) {
  if (bases_.contains(basis_id(asset))) return {};
  const std::uint64_t most = std::min(limits.max_coefficients, kMaxBasisCoefficients);
  PINION_TRY(const auto basis,
             decode_basis(asset, {.max_channels = limits.max_channels,
                                  .max_coefficients = most - std::min(most, coefficients_)}));
  const SplitBasis parts = split(basis->rows);
  HeldBasis held;
  held.channels = basis->rows.columns;
  const auto place = [&](Parts& in) {
    auto* const high = in.take<std::uint16_t>(parts.high.size());
    auto* const low = in.take<std::uint16_t>(parts.low.size());
    held.view.parts[0] = reinterpret_cast<const __half*>(high);
    held.view.parts[1] = parts.is_exact ? nullptr : reinterpret_cast<const __half*>(low);
    held.view.scales = in.take<float>(held.channels);
    held.view.plain = in.take<float>(basis->rows.values.size());
  };
  Parts measured(nullptr);
  place(measured);
  PINION_TRY_VOID(held.memory.reserve(measured.used()));
  Parts placed(held.memory.data());
  place(placed);
  held.view.components = static_cast<std::uint32_t>(basis->rows.rows);
  held.view.pitch = pitch_of(basis->rows.rows);
  held.view.fits = parts.fits;
  PINION_TRY_VOID(send(parts.high, reinterpret_cast<const std::uint16_t*>(held.view.parts[0])));
  if (!parts.is_exact)
    PINION_TRY_VOID(send(parts.low, reinterpret_cast<const std::uint16_t*>(held.view.parts[1])));
  PINION_TRY_VOID(send(parts.scales, held.view.scales));
  PINION_TRY_VOID(send(basis->rows.values, held.view.plain));
  coefficients_ += basis->rows.values.size();
  bases_.emplace(basis->id, std::move(held));
  return {};
}

Result<const FidelityOnDevice::HeldBasis*> FidelityOnDevice::basis_for(const FrameHeader& header) const {
  if (!header.basis) return nullptr;
  const auto found = bases_.find(*header.basis);
  if (found == bases_.end()) {
    return Error{Errc::kNotFound, "coded frame needs basis " + to_hex(*header.basis) + ", which is not here",
                 "send the basis first"};
  }
  if (found->second.channels != static_cast<std::size_t>(channels_of(header.shape)))
    return Error{Errc::kBadFormat, "coded frame has another number of channels than its basis", ""};
  return &found->second;
}

Result<void> FidelityOnDevice::reserve(std::size_t components, std::size_t rows, std::size_t channels,
                                       std::size_t pitch, const DeviceRoom& room) {
  if (!is_ready_) {
    PINION_TRY_VOID(tables_.make());
    PINION_TRY_VOID(check(allow_product_memory(room), "cannot use shared memory"));
    PINION_TRY_VOID(largest_.reserve(2 * sizeof(std::uint32_t)));
    is_ready_ = true;
  }
  const std::size_t values = std::max<std::size_t>(components * rows, 1);
  PINION_TRY_VOID(next_.components.reserve(4 * values));
  PINION_TRY_VOID(next_.means.reserve(4 * channels));
  PINION_TRY_VOID(residuals_.reserve(4 * (values + channels)));
  return turned_.reserve(2 * sizeof(__half) * rows * pitch);
}

Result<void> FidelityOnDevice::write_parts(const FidelityBody& body, const RowBands& bands,
                                           const std::byte* frame, FidelityAdvance& advance,
                                           IndexDecodeJob& indices) {
  const FidelityParams& params = body.params;
  const ChunkGrid& grid = body.chunks.grid;
  const std::size_t components = params.component_count(), count = bands.count();
  const std::vector<std::size_t> active = active_components(params.components);
  IndexGrid* to_grid = nullptr;
  std::uint64_t* places = nullptr;
  std::uint32_t *sizes = nullptr, *to_active = nullptr, *row_at = nullptr;
  std::int32_t* factors = nullptr;
  std::uint16_t* classes = nullptr;
  std::uint8_t* offsets = nullptr;
  const auto place = [&](Parts& in) {
    to_grid = in.take<IndexGrid>(1);
    places = in.take<std::uint64_t>(body.chunks.chunks.size());
    sizes = in.take<std::uint32_t>(body.chunks.chunks.size());
    to_active = in.take<std::uint32_t>(active.size());
    row_at = in.take<std::uint32_t>(count > 1 ? bands.rows() : 0);
    factors = in.take<std::int32_t>(kReferences * components);
    classes = in.take<std::uint16_t>(components * count);
    offsets = in.take<std::uint8_t>(components * count);
  };
  Parts measured(nullptr);
  place(measured);
  part_bytes_ = measured.used();
  PINION_TRY_VOID(parts_.reserve(part_bytes_));
  PINION_TRY_VOID(pinned_parts_.reserve(part_bytes_));
  Parts here(pinned_parts_.data());
  place(here);
  *to_grid = {};
  to_grid->bands = static_cast<std::uint32_t>(count);
  for (std::size_t b = 0; b < count; ++b) to_grid->band_ends[b] = static_cast<std::uint32_t>(bands.ends()[b]);
  to_grid->active = static_cast<std::uint32_t>(active.size());
  to_grid->lanes = static_cast<std::uint32_t>(grid.lanes);
  to_grid->tile_rows = static_cast<std::uint32_t>(grid.tile_rows);
  to_grid->group_components = static_cast<std::uint32_t>(grid.group_components);
  to_grid->tiles = static_cast<std::uint32_t>(
      std::max<std::size_t>(1, (bands.rows() + grid.tile_rows - 1) / grid.tile_rows));
  to_grid->groups = static_cast<std::uint32_t>(body.chunks.chunks.size() / to_grid->tiles);
  for (std::size_t i = 0; i < body.chunks.chunks.size(); ++i) {
    places[i] = static_cast<std::uint64_t>(body.chunks.chunks[i].data() - frame);
    sizes[i] = static_cast<std::uint32_t>(body.chunks.chunks[i].size());
  }
  std::copy(active.begin(), active.end(), to_active);
  for (std::size_t i = 0; count > 1 && i < bands.rows(); ++i)
    row_at[i] = static_cast<std::uint32_t>(bands.row_at(i));
  for (std::size_t k = 0; k < components; ++k) {
    for (std::size_t i = 0; i < kReferences; ++i) {
      factors[kReferences * k + i] =
          i < params.references
              ? params.components.predictors[params.components.predictor_of[k]].coefficient(i) *
                    static_cast<std::int32_t>(params.ratios[i])
              : 0;
    }
    for (std::size_t b = 0; b < count; ++b) {
      const IndexClass of = params.components.index_class(k, b);
      const BinOffsets bins = params.components.offsets_of(of);
      classes[k * count + b] = code_of_class(of);
      offsets[k * count + b] = static_cast<std::uint8_t>(bins.one | bins.more << 4);
    }
  }
  Parts there(parts_.data());
  place(there);
  advance.grid = to_grid;
  advance.classes = classes;
  advance.offsets = offsets;
  advance.factors = factors;
  advance.row_at = count > 1 ? row_at : nullptr;
  indices.matrix = {to_grid, classes, to_active, static_cast<std::uint32_t>(bands.rows()),
                    static_cast<std::uint32_t>(bands.rows())};
  indices.chunks = static_cast<std::uint32_t>(body.chunks.chunks.size());
  indices.places = places;
  indices.sizes = sizes;
  return {};
}

Result<void> FidelityOnDevice::start(const ParsedFrame& frame, ByteSpan bytes, const Target& target,
                                     const DeviceRoom& room) {
  const FrameHeader& header = frame.header;
  const auto rows = static_cast<std::uint32_t>(rows_of(header.shape)),
             channels = static_cast<std::uint32_t>(channels_of(header.shape));
  next_state_.reset();
  PINION_TRY(const HeldBasis* const basis, basis_for(header));
  const StreamState* const previous = state_ ? &*state_ : nullptr;
  PINION_TRY_VOID(check_previous(header, previous));
  PINION_TRY(const FidelityBody body,
             parse_fidelity(frame, basis == nullptr ? channels : basis->view.components, previous));
  PINION_TRY(const RowBands bands, decode_band_map(body, rows, tables_here_));
  const FidelityParams& params = body.params;
  const auto components = static_cast<std::uint32_t>(params.component_count());
  const std::uint32_t pitch = basis == nullptr ? 0 : basis->view.pitch;
  PINION_TRY_VOID(reserve(components, rows, channels, pitch, room));

  FidelityAdvance advance;
  IndexDecodeJob indices;
  PINION_TRY_VOID(write_parts(body, bands, bytes.data(), advance, indices));
  auto* const residuals = reinterpret_cast<std::int32_t*>(residuals_.data());
  auto* const largest = reinterpret_cast<std::uint32_t*>(largest_.data());
  indices.tables = tables_.tables();
  indices.frame = target.on_device;
  indices.values = residuals + channels;
  indices.broken = &target.outcome->broken;
  indices.front = residuals;
  indices.front_count = channels;
  indices.front_class = code_of_class(params.mean_class);
  advance.rows = rows;
  advance.channels = channels;
  advance.components = components;
  advance.references = static_cast<std::uint32_t>(params.references);
  advance.residuals = indices.values;
  advance.before[0] = {reinterpret_cast<const std::int32_t*>(last_.components.data()), last_.count};
  advance.before[1] = {reinterpret_cast<const std::int32_t*>(older_.components.data()), older_.count};
  advance.state = reinterpret_cast<std::int32_t*>(next_.components.data());
  advance.mean_residuals = indices.front_class == kNoIndexClass ? nullptr : residuals;
  advance.means_before = reinterpret_cast<const std::int32_t*>(last_.means.data());
  advance.means = reinterpret_cast<std::int32_t*>(next_.means.data());
  if (params.references > 0) {
    advance.mean_factor = std::int64_t{params.mean_coefficient} * params.ratios[0];
    advance.mean_shift = static_cast<std::uint32_t>(22 - params.mean_shift + previous->last.mean_shift);
  }
  advance.largest = largest;
  advance.outcome = target.outcome;
  FidelityRebuild rebuild;
  rebuild.rows = rows;
  rebuild.channels = channels;
  rebuild.components = components;
  rebuild.state = advance.state;
  rebuild.means = advance.means;
  rebuild.unit = params.step / kStateOne;
  rebuild.mean_unit = std::ldexp(rebuild.unit, -params.mean_shift);
  rebuild.has_basis = basis != nullptr;
  if (basis != nullptr) rebuild.basis = basis->view;
  rebuild.largest = largest;
  rebuild.pitch = pitch;
  rebuild.turned = reinterpret_cast<__half*>(turned_.data());
  rebuild.with_rest = largest + 1;
  rebuild.dtype = static_cast<std::uint8_t>(header.dtype);
  rebuild.out = target.out;
  rebuild.outcome = target.outcome;
  rebuild.outcome_on_host = target.outcome_on_host;

  launch_receiving(pinned_parts_.data(), parts_.data(), part_bytes_, largest, target.stream);
  launch_index_decoding(indices, target.stream);
  launch_fidelity_advance(advance, target.stream);
  launch_fidelity_rebuilding(rebuild, room, target.stream);

  next_.count = components;
  next_has_references_ = params.references > 0;
  StreamState& outline = next_state_.emplace();
  outline.checksum = frame.checksum;
  outline.basis = header.basis;
  outline.rows = rows;
  outline.channels = channels;
  outline.last.mean_shift = params.mean_shift;
  outline.last.scales = params.components.scales;
  if (next_has_references_ && last_.count > 0) outline.older.push_back(0);
  return {};
}

void FidelityOnDevice::commit() {
  state_ = std::move(next_state_);
  next_state_.reset();
  std::swap(older_, last_);
  std::swap(last_, next_);
  if (!next_has_references_) older_.count = 0;
}

std::size_t FidelityOnDevice::bytes() const {
  std::size_t bytes = residuals_.bytes() + turned_.bytes() + parts_.bytes();
  for (const HeldState* state : {&last_, &older_, &next_})
    bytes += state->components.bytes() + state->means.bytes();
  for (const auto& [id, basis] : bases_) bytes += basis.memory.bytes();
  return bytes;
}

}  // namespace pinion::codec::cuda
