#pragma once
// Exact coding of latents against their prediction (docs/protocol.md, section 5). An exact prediction costs
// a few bytes, whatever the size. Pure functions; thread-safe.
//
// A sampler that wants its steps to cost nothing makes its next latents with predict_latents().

#include <span>

#include "pinion/base/bytes.h"

namespace pinion::transport {

// out[i] = latents[i] + delta_sigma * velocity[i], each operation rounded to float32 on its own on every
// machine. All three have the same size; `out` may be `latents`.
void predict_latents(std::span<const float> latents, std::span<const float> velocity, float delta_sigma,
                     std::span<float> out);

// The difference of `latents` from `prediction` (same size).
Bytes encode_latents_delta(std::span<const float> latents, std::span<const float> prediction);

// The latents again, into `latents`, which holds the prediction. kBadFormat if `delta` does not fit; the
// contents are then unspecified.
Result<void> apply_latents_delta(ByteSpan delta, std::span<float> latents);

}  // namespace pinion::transport
