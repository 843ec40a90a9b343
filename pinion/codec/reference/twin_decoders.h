#pragma once
// The decoder that ships and the reference decoder on the same stream, for tests and fuzzing: they must agree
// on what they refuse and why, on every integer and exact tensor, and on values up to the tolerance of
// docs/format.md §6.5. One object is used by one thread at a time.

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "pinion/base/float_formats.h"
#include "pinion/base/sha256.h"
#include "pinion/codec/fidelity/fidelity_decoder.h"
#include "pinion/codec/reference/reference_decoder.h"

namespace pinion::codec::testing {

class TwinDecoders {
 public:
  // These give it to both, and say how the two differ: nothing if they agree.
  std::string add_basis(ByteSpan asset, const BasisLimits& limits) {
    const Result<void> ours = decoder_->add_basis(asset, limits),
                       theirs = reference_.add_basis(asset, limits);
    accepted_ = ours.ok();
    if (const std::string difference = compare_verdicts(ours, theirs); !difference.empty() || !ours.ok()) {
      return difference;
    }
    const auto basis = decode_basis(asset, limits).value();
    bases_[basis->id] = basis;
    return compare_bases(*basis, reference_.basis(basis->id));
  }

  std::string decode(ByteSpan frame, const DecodeLimits& limits) {
    const Result<Tensor> ours = decoder_->decode(frame, limits);
    const Result<ReferenceFrame> theirs = reference_.decode(frame, limits);
    accepted_ = ours.ok();
    if (const std::string difference = compare_verdicts(ours, theirs); !difference.empty() || !ours.ok()) {
      return difference;
    }
    const ParsedFrame parsed = parse_frame(frame, limits).value();
    if (parsed.header.mode == Mode::kFidelity) {
      const Basis* basis = parsed.header.basis ? bases_.at(*parsed.header.basis).get() : nullptr;
      ChunkPool alone;
      state_ = decode_fidelity(parsed, basis, state(), tables_, alone).value().state;
      if (std::string difference = compare_states(*state_, *reference_.state()); !difference.empty()) {
        return difference;
      }
    }
    tensor_ = *ours;
    return compare_tensors(*ours, *theirs);
  }

  // Of what was handed over last.
  bool accepted() const { return accepted_; }

  // Of the last frame that was accepted.
  const Tensor& tensor() const { return tensor_; }

  // Of the decoder that ships; null before the first frame of mode 2.
  const StreamState* state() const { return state_ ? &*state_ : nullptr; }

  // A decoder may round any number within the tolerance, so the element lies between the ends of that,
  // rounded.
  static std::string compare_tensors(const Tensor& ours, const ReferenceFrame& theirs) {
    if (ours.dtype() != theirs.tensor.dtype() || !(ours.shape() == theirs.tensor.shape()))
      return "other shapes or types";
    if (theirs.values.empty()) {
      const bool same = std::ranges::equal(ours.view().span(), theirs.tensor.view().span());
      return same ? "" : "exact tensors differ";
    }
    const std::size_t count = theirs.values.size();
    std::vector<float> least(count), most(count);
    const double limit = ours.dtype() == DType::kF16    ? 65504.0
                         : ours.dtype() == DType::kBF16 ? bf16_to_float(0x7f7f)
                                                        : std::numeric_limits<float>::max();
    for (std::size_t i = 0; i < count; ++i) {
      least[i] = static_cast<float>(std::clamp(theirs.values[i] - theirs.tolerances[i], -limit, limit));
      most[i] = static_cast<float>(std::clamp(theirs.values[i] + theirs.tolerances[i], -limit, limit));
    }
    Tensor low = Tensor::empty(ours.dtype(), ours.shape()), high = Tensor::empty(ours.dtype(), ours.shape());
    from_float(least.data(), ours.elements(), ours.dtype(), low.mutable_data());
    from_float(most.data(), ours.elements(), ours.dtype(), high.mutable_data());
    for (std::int64_t i = 0; i < ours.elements(); ++i) {
      const float value = load_as_float(ours.view().data, ours.dtype(), i);
      if (!(value >= load_as_float(low.view().data, ours.dtype(), i) &&
            value <= load_as_float(high.view().data, ours.dtype(), i))) {
        return "element " + std::to_string(i) + " is " + std::to_string(value) + ", and should be " +
               std::to_string(theirs.values[static_cast<std::size_t>(i)]) + " ± " +
               std::to_string(theirs.tolerances[static_cast<std::size_t>(i)]);
      }
    }
    return "";
  }

 private:
  static bool means_damaged(Errc code) { return code == Errc::kBadFormat || code == Errc::kNeedMoreBytes; }

  template <class A, class B>
  static std::string compare_verdicts(const Result<A>& ours, const Result<B>& theirs) {
    const auto text = [](const auto& result) {
      return result.ok() ? std::string("accepted")
                         : std::string(name(result.error().code)) + ", " + result.error().text;
    };
    const bool same = ours.ok() == theirs.ok() &&
                      (ours.ok() || ours.error().code == theirs.error().code ||
                       (means_damaged(ours.error().code) && means_damaged(theirs.error().code)));
    return same ? "" : "the decoder says: " + text(ours) + "; the reference: " + text(theirs);
  }

  static std::string compare_bases(const Basis& ours, const ReferenceBasis* theirs) {
    if (theirs == nullptr || theirs->rows.size() != ours.rows.rows || theirs->channels != ours.rows.columns) {
      return "bases of different sizes";
    }
    for (std::size_t k = 0; k < theirs->rows.size(); ++k) {
      if (!std::ranges::equal(ours.rows.row(k), theirs->rows[k]))
        return "bases differ in row " + std::to_string(k);
    }
    return "";
  }

  static bool same_components(const std::vector<std::int32_t>& ours,
                              const std::vector<std::vector<std::int64_t>>& theirs) {
    std::size_t at = 0;
    for (const auto& component : theirs) {
      if (ours.size() - at < component.size()) return false;
      if (!std::equal(component.begin(), component.end(), ours.begin() + static_cast<std::ptrdiff_t>(at)))
        return false;
      at += component.size();
    }
    return at == ours.size();
  }

  static std::string compare_states(const StreamState& ours, const ReferenceState& theirs) {
    if (ours.checksum != theirs.checksum || ours.basis != theirs.basis || ours.rows != theirs.rows ||
        ours.channels != theirs.channels || ours.last.mean_shift != theirs.mean_shift) {
      return "states of different frames";
    }
    if (!std::ranges::equal(ours.last.means, theirs.means)) return "states differ in their means";
    if (!std::ranges::equal(ours.last.scales, theirs.scales)) return "states differ in their scales";
    if (!same_components(ours.last.components, theirs.components)) return "states differ in their components";
    if (!same_components(ours.older, theirs.older)) return "states differ in their older components";
    return "";
  }

  std::unique_ptr<Decoder> decoder_ = Decoder::create();
  ReferenceDecoder reference_;
  std::map<BasisId, std::shared_ptr<const Basis>> bases_;
  std::optional<StreamState> state_;
  IndexTables tables_;
  bool accepted_ = false;
  Tensor tensor_;
};

}  // namespace pinion::codec::testing
