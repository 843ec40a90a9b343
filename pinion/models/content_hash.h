#pragma once
// The identity of weights, whatever file layout they are stored in. Thread-safe.

#include <optional>
#include <string>

#include "pinion/models/checkpoint.h"

namespace pinion::models {

// SHA-256 in hex over the canonical tensors: of each its name, shape, and the dtype, scale and bytes of its
// rows; then of each group over its tensors, then over the family's name and the groups. Reads every weight.
Result<std::string> hash_weights(const Checkpoint& checkpoint, std::string_view family);

// The same, kept in the user's cache folder by the files' paths, sizes and modification times. A cache that
// cannot be read or written costs only time.
Result<std::string> cached_hash(const Checkpoint& checkpoint, std::string_view family);

// Only what the cache holds; reads no weight.
std::optional<std::string> known_hash(const Checkpoint& checkpoint, std::string_view family);

}  // namespace pinion::models
