#include "pinion/codec/reference/reference_decoder.h"

#include <algorithm>

#include "pinion/base/checked.h"
#include "pinion/base/crc32c.h"
#include "pinion/base/sha256.h"
#include "pinion/codec/reference/reference_parts.h"

namespace pinion::codec {
namespace {

constexpr std::uint64_t kMaxExtent = (std::uint64_t{1} << 31) - 1;
constexpr std::uint64_t kMaxElements = (std::uint64_t{1} << 48) - 1;
constexpr std::uint64_t kMaxBodyBytes = (std::uint64_t{1} << 48) - 1;
constexpr std::uint64_t kMaxCoefficients = std::uint64_t{1} << 26;

Error unsupported(std::string_view what) { return Error{Errc::kUnsupported, std::string(what), ""}; }

// §2.2: the types that each mode allows are the first ones.
std::uint64_t types_of_mode(std::uint64_t mode) { return mode == 0 ? 12 : mode == 1 ? 5 : 3; }

// §2.3.
std::uint64_t flags_of_mode(std::uint64_t mode) { return mode == 2 ? 3 : mode == 1 || mode == 3 ? 2 : 0; }

// §2.4, and the limits of the receiver.
Result<void> read_shape(ReferenceReader& in, const DecodeLimits& limits, ReferenceHeader& header) {
  PINION_TRY(const std::uint64_t rank, in.number("rank", 1, {0, 8}));
  std::vector<std::int64_t> extents;
  std::uint64_t product = 1;
  for (std::uint64_t axis = 0; axis < rank; ++axis) {
    PINION_TRY(const std::uint64_t extent, in.varint("extent", {0, kMaxExtent}));
    // Below 2^48 times below 2^31: too much for 64 bits.
    const auto next = checked_mul(product, std::max<std::uint64_t>(extent, 1));
    if (!next || *next > kMaxElements) return refused("the product of the extents is too large");
    product = *next;
    extents.push_back(static_cast<std::int64_t>(extent));
  }
  header.shape = Shape(extents);
  const auto elements = static_cast<std::uint64_t>(header.shape.elements());
  header.channels = rank == 0 ? 1 : static_cast<std::size_t>(extents.back());
  header.rows = header.channels == 0 ? 0 : elements / header.channels;
  if (elements * size_bytes(header.dtype) > limits.max_tensor_bytes ||
      header.channels > limits.max_channels) {
    return Error{Errc::kTooLarge, "the tensor is larger than the receiver accepts", ""};
  }
  return {};
}

struct Outline {
  ReferenceHeader header;
  ReferenceReader body;
};

// §2.
Result<Outline> read_frame(ByteSpan frame, const DecodeLimits& limits, ReferenceLog* log) {
  ReferenceReader in(frame, log);
  ReferenceHeader header;
  PINION_TRY(const ByteSpan magic, in.bytes("magic", 4));
  if (as_text(magic) != "PNF1") return refused("a frame starts with PNF1");
  PINION_TRY(const std::uint64_t version, in.number("version", 1));
  PINION_TRY(header.mode, in.number("mode", 1));
  PINION_TRY(const std::uint64_t dtype, in.number("dtype", 1));
  PINION_TRY(const std::uint64_t flags, in.number("flags", 1));
  if (version != 1) return unsupported("a frame of another version");
  if (header.mode > 5) return unsupported("a frame of an unknown mode");
  if (dtype >= types_of_mode(header.mode)) return refused("a type that the mode does not allow");
  header.dtype = dtype_from_code(static_cast<std::uint8_t>(dtype)).value();
  if ((flags & ~flags_of_mode(header.mode)) != 0) return refused("a reserved flag is set");
  PINION_TRY_VOID(read_shape(in, limits, header));
  PINION_TRY(const std::uint64_t body_bytes, in.varint("body_bytes", {0, kMaxBodyBytes}));
  if (flags & 1) {
    PINION_TRY(const ByteSpan id, in.bytes("basis id", 16));
    std::copy(id.begin(), id.end(), header.basis.emplace().begin());
  }
  if (flags & 2) {
    PINION_TRY(const std::uint64_t previous, in.number("previous checksum", 4));
    header.previous = static_cast<std::uint32_t>(previous);
  }
  PINION_TRY(const ReferenceReader body, in.part(body_bytes));
  const std::size_t content = in.offset();
  // The checksum is logged when the body was read: it comes last.
  ReferenceReader unlogged(frame.subspan(content));
  PINION_TRY(const std::uint64_t checksum, unlogged.number("checksum", 4));
  PINION_TRY_VOID(unlogged.end("a frame"));
  if (header.shape.elements() == 0 && body_bytes != 0) return refused("a tensor without elements has a body");
  if (header.shape.elements() == 0 && (header.mode == 2 || header.previous))
    return refused("a tensor without elements, in mode 2 or with a previous frame");
  if (checksum != crc32c(frame.first(content))) return refused("the checksum does not match");
  header.checksum = static_cast<std::uint32_t>(checksum);
  return Outline{header, body};
}

// §3.
Result<Tensor> decode_raw(const ReferenceHeader& header, ReferenceReader body) {
  Tensor tensor = Tensor::empty(header.dtype, header.shape);
  PINION_TRY(const ByteSpan bytes, body.bytes("tensor", tensor.bytes()));
  PINION_TRY_VOID(body.end("the tensor"));
  std::copy(bytes.begin(), bytes.end(), tensor.mutable_data());
  return tensor;
}

ReferenceBasisId basis_id_of(ByteSpan asset) {
  const Digest digest = sha256(asset);
  ReferenceBasisId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

// §5.3, §9.3. Null if the frame needs none.
Result<const Tensor*> previous_tensor(const ReferenceHeader& header,
                                      const std::map<std::uint64_t, ReferenceTensorState>& states) {
  if (!header.previous) return nullptr;
  const auto state = states.find(header.mode);
  if (state == states.end() || state->second.checksum != *header.previous)
    return Error{Errc::kNotFound, "the previous frame is not here", ""};
  const Tensor& tensor = state->second.tensor;
  const std::size_t rank = tensor.shape().rank();
  const std::int64_t channels = rank == 0 ? 1 : tensor.shape()[rank - 1];
  if (tensor.dtype() != header.dtype || tensor.elements() != header.shape.elements() ||
      channels != static_cast<std::int64_t>(header.channels)) {
    return refused("the previous frame has another type, or other rows or channels");
  }
  return &tensor;
}

Result<void> check_previous(const ReferenceHeader& header, const ReferenceState* state) {
  if (!header.previous) return {};
  if (state == nullptr || state->checksum != *header.previous) {
    return Error{Errc::kNotFound, "the previous frame is not here", ""};
  }
  if (state->basis != header.basis || state->rows != header.rows || state->channels != header.channels) {
    return refused("the previous frame has another basis, or other rows or channels");
  }
  return {};
}

}  // namespace

Result<void> ReferenceDecoder::add_basis(ByteSpan asset, const BasisLimits& limits, ReferenceLog* log) {
  const ReferenceBasisId id = basis_id_of(asset);
  if (bases_.contains(id)) return {};
  BasisLimits left = limits;
  left.max_coefficients = std::min(left.max_coefficients, kMaxCoefficients);
  left.max_coefficients -= std::min(left.max_coefficients, coefficients_);
  PINION_TRY(ReferenceBasis basis, read_reference_basis(asset, left, tables_, log));
  coefficients_ += basis.channels * basis.rows.size();
  bases_.emplace(id, std::move(basis));
  return {};
}

const ReferenceBasis* ReferenceDecoder::basis(const ReferenceBasisId& id) const {
  const auto found = bases_.find(id);
  return found == bases_.end() ? nullptr : &found->second;
}

Result<ReferenceFrame> ReferenceDecoder::decode(ByteSpan frame, const DecodeLimits& limits,
                                                ReferenceLog* log) {
  PINION_TRY(const Outline outline, read_frame(frame, limits, log));
  const ReferenceHeader& header = outline.header;
  ReferenceFrame decoded;
  if (header.mode == 0) {
    PINION_TRY(decoded.tensor, decode_raw(header, outline.body));
  } else if (header.mode == 4 || header.mode == 5) {
    PINION_TRY(decoded.tensor, decode_reference_groups(header, outline.body));
  } else if (header.mode == 1 || header.mode == 3) {
    PINION_TRY(const Tensor* previous, previous_tensor(header, tensors_));
    const auto decode_planes = header.mode == 1 ? decode_reference_lossless : decode_reference_bounded;
    PINION_TRY(decoded.tensor, decode_planes(header, outline.body, previous));
    if (decoded.tensor.elements() > 0) tensors_[header.mode] = {header.checksum, decoded.tensor};
  } else {
    const ReferenceBasis* basis = nullptr;
    if (header.basis) {
      const auto found = bases_.find(*header.basis);
      if (found == bases_.end()) return Error{Errc::kNotFound, "the basis is not here", ""};
      basis = &found->second;
      if (basis->channels != header.channels) return refused("the basis has other channels");
    }
    PINION_TRY_VOID(check_previous(header, state()));
    PINION_TRY(
        ReferenceFidelity fidelity,
        decode_reference_fidelity(header, outline.body, basis, header.previous ? state() : nullptr, tables_));
    state_ = std::move(fidelity.state);
    decoded = std::move(fidelity.frame);
  }
  if (log != nullptr) {
    ReferenceReader end(frame.last(4), log, frame.size() - 4);
    PINION_TRY_VOID(end.number("checksum", 4));
  }
  return decoded;
}

}  // namespace pinion::codec
