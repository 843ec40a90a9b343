#pragma once
// Positions of FLUX.2's tokens and their rotary embedding: interleaved pairs, theta 2000, four axes
// (time, height, width, text position) of a quarter of the head each. Pure functions.

#include <ATen/ATen.h>

#include "pinion/models/stage.h"

namespace pinion::models::flux2 {

// Token positions [text tokens + image tokens, 4] as int64 on the CPU, text first: text is (0, 0, 0, l), the
// picture (0, h, w, 0), reference image r = 1, 2, … (10 r, h, w, 0).
at::Tensor position_ids(const JobConstants& constants);

// exp(i * angle) per token and pair: complex64 [tokens, head_width / 2], computed in float64 on the CPU.
at::Tensor rope_table(const at::Tensor& ids, std::int64_t head_width);

// Rotates x [batch, tokens, heads, head_width] in float32 and returns it in x's dtype.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& table);

}  // namespace pinion::models::flux2
