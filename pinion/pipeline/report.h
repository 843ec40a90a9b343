#pragma once
// What a job cost, for programs: the JSON of `pinion generate --report`.

#include <nlohmann/json_fwd.hpp>

#include "pinion/pipeline/generate.h"

namespace pinion::pipeline {

// Sums over all steps.
struct Totals {
  std::size_t bytes_up = 0;       // client to first worker
  std::size_t bytes_down = 0;     // last worker to client
  std::size_t bytes_between = 0;  // worker to worker
  std::size_t basis_bytes = 0;    // part of the above that only the first job of a basis pays
  std::size_t state_bytes = 0;    // frames of hidden states, all hops
  std::int64_t state_elements = 0;
  double local_ms = 0, remote_compute_ms = 0, encode_ms = 0, decode_ms = 0, wire_ms = 0, denoise_ms = 0;

  std::size_t bytes() const { return bytes_up + bytes_down + bytes_between; }
  double state_bits_per_element() const {
    return state_elements == 0 ? 0
                               : 8.0 * static_cast<double>(state_bytes) / static_cast<double>(state_elements);
  }
};

Totals sum_up(const GenerateResult& result);

nlohmann::ordered_json to_json(const GenerateResult& result);

}  // namespace pinion::pipeline
