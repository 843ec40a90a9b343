#pragma once
// Which basis a stream's next frame uses: the one it has, a new one computed
// from the frame, or none.
//
// Keeps the encoder's side of a stream. Used by one thread at a time.

#include "pinion/codec/fidelity/fidelity_encoder.h"
#include "pinion/codec/fidelity/rate_model.h"

namespace pinion::codec {

// Which bases a frame may use, beside none.
enum class BasisUse { kAny, kCurrent, kNone };

struct ChosenFrame {
  CodedFidelity coded;
  std::shared_ptr<const BasisFit> fit;  // null: none
  BasisUse use = BasisUse::kAny;        // that it was chosen under
  bool key_frame = true;
  bool compared = false;  // with a new basis
  double planned_bits = 0;
};

class BasisChooser {
 public:
  // The pool outlives it.
  explicit BasisChooser(ChunkPool& pool) : pool_(pool) {}

  // Nothing if the target is out of reach. The stream's state changes only with
  // commit().
  std::optional<ChosenFrame> encode(const TensorView& tensor, const CentredTensor& centred,
                                    double target_snr_db, BasisUse use = BasisUse::kAny);

  void commit(ChosenFrame&& chosen);

  // What the last frame that might use one left, or what was offered; null: none.
  const BasisFit* current() const { return fit_.get(); }
  bool has_state() const { return state_.has_value(); }

  // The next frame is a key frame.
  void forget_state() { state_.reset(); }

  Result<void> offer(ByteSpan asset);

 private:
  struct Candidate {
    std::shared_ptr<const BasisFit> fit;
    Projection projection;
    Prediction prediction;
    ComponentSample sample;
    RatePlan plan;  // step 0: it cannot meet the target
  };

  Candidate evaluate(std::shared_ptr<const BasisFit> fit, const CentredTensor& centred, double target) const;
  std::optional<Candidate> try_new_basis(const CentredTensor& centred, double target,
                                         const Candidate* current);
  bool should_try_new(const Candidate* current) const;

  ChunkPool& pool_;
  std::shared_ptr<const BasisFit> fit_;
  bool fit_is_tested_ = false;  // a frame has used it
  std::optional<StreamState> state_;
  std::array<double, kMaxReferences> steps_{};  // of the last frames, newest first
  double aim_ = 1;                              // see FidelityRequest
  double bits_at_choice_ = 0;  // planned bits when the basis was last compared with a new one
  std::size_t frames_ = 0;     // committed so far
  std::size_t next_try_ = 0;   // frames before which no other basis is computed
  FidelityWorkspace workspace_;
};

}  // namespace pinion::codec
