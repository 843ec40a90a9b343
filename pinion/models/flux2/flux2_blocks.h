#pragma once
// FLUX.2's arithmetic, one function for each part of the network, on libtorch tensors of one device and
// dtype.
//
// What a block computes depends on nothing but its inputs' values, shapes and the weights: inputs are
// contiguous, outputs are fresh and contiguous, so a cut between blocks changes no bit. No function writes
// to its inputs. H is the hidden width, B the batch. Formulas: docs/models.md.

#include <ATen/ATen.h>

#include <array>

namespace pinion::models::flux2 {

// The weights of attention and MLP of one stream of a double block.
struct StreamWeights {
  at::Tensor qkv, query_norm, key_norm, proj, mlp_in, mlp_out;
};

struct DoubleBlockWeights {
  StreamWeights image, text;
};

struct SingleBlockWeights {
  at::Tensor linear1, linear2, query_norm, key_norm;
};

struct MlpWeights {
  at::Tensor in, out;
};

// What the timestep does to one half of a block, each [B, 1, H]: y = gate * f(norm(x) * scale + shift).
struct Modulation {
  at::Tensor shift, scale, gate;  // scale has its 1 added
};

using StreamModulation = std::array<Modulation, 2>;  // of attention and of the MLP

struct DoubleModulation {
  StreamModulation image, text;
};

// The state: both [B, tokens, H]. Image rows are the picture's tokens, then those of the references.
struct Streams {
  at::Tensor image, text;
};

// exp(-ln(10000) k / n) sinusoids of 1000 * value, [values, 2n] as [cosines | sines], float32 on the CPU.
at::Tensor time_features(const std::vector<float>& values, std::int64_t features);

at::Tensor embed_time(const MlpWeights& weights, const at::Tensor& features);  // Linear, SiLU, Linear: [B, H]

// Linear(SiLU(time)) cut into modulations of three parts each; `weight` has 3 * count * H rows.
std::vector<Modulation> modulations(const at::Tensor& weight, const at::Tensor& time);

Streams double_block(const DoubleBlockWeights& weights, const DoubleModulation& modulation, const Streams& in,
                     const at::Tensor& rope);

// `joint` is the text rows, then the image rows.
at::Tensor single_block(const SingleBlockWeights& weights, const Modulation& modulation,
                        const at::Tensor& joint, const at::Tensor& rope);

// Velocity of `image` [B, tokens, H]; `modulation` is Linear(SiLU(time)) with rows [shift; scale].
at::Tensor finish(const at::Tensor& modulation_weight, const at::Tensor& linear_weight,
                  const at::Tensor& time, const at::Tensor& image);

}  // namespace pinion::models::flux2
