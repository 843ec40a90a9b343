#pragma once
// The Qwen3 language model, or the front part of it that a text encoder needs, on one device. Immutable once
// loaded; used by one thread at a time.
//
// Layer: h += o(attention(norm(h))); h += down(silu(gate(m)) * up(m)) with m = norm(h). Queries and keys are
// RMS-normed per head before rotation (pairs k, k + D/2). Positions count from 0 at the first token, padding
// included. Formulas: docs/text_and_vae.md.

#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "pinion/models/qwen3/qwen3_config.h"
#include "pinion/models/stage.h"
#include "pinion/models/weights.h"

namespace pinion::models::qwen3 {

// Which weights to read: the embeddings and the first `layers` layers; with `head` also the final norm and
// the output layer (then `layers` must be all).
struct Part {
  std::int64_t layers = 0;
  bool head = false;
};

struct LayerWeights {
  at::Tensor q, k, v, o, q_norm, k_norm;
  at::Tensor gate, up, down;
  at::Tensor input_norm, mlp_norm;
};

// Called with every hidden state [B, S, hidden]: 0 is the embeddings, N what layer N - 1 gave, before any
// final norm.
using HiddenObserver = std::function<void(std::int64_t index, const at::Tensor& state)>;

class Model {
 public:
  static Result<Model> load(const Weights& weights, const Config& config, Part part,
                            const StageOptions& options);

  const Config& config() const { return config_; }

  // Token ids [B, S] (I64) and the mask of those that are no padding [B, S] (Bool), both on the CPU. A token
  // sees itself and what stands before it, without the padding. Returns the last hidden state.
  Result<at::Tensor> run(const at::Tensor& ids, const at::Tensor& mask, const HiddenObserver& observer) const;

  // The final norm, then the output layer. Only for a model loaded with its head.
  at::Tensor normed(const at::Tensor& state) const;
  at::Tensor logits(const at::Tensor& normed_state) const;

 private:
  Model() = default;

  Config config_;
  StageOptions options_;
  at::Tensor embeddings_;
  std::vector<LayerWeights> layers_;
  at::Tensor final_norm_, output_;  // defined with the head
};

}  // namespace pinion::models::qwen3
