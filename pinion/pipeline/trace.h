#pragma once
// A job as a timeline that chrome://tracing and Perfetto draw: `pinion generate --trace`.

#include <nlohmann/json_fwd.hpp>

#include "pinion/pipeline/generate.h"

namespace pinion::pipeline {

// Trace event format: one row for the client, one per worker, one per link; times in microseconds from the
// start of the first step. Parts of a step stand in the order in which they happened, one after the other.
nlohmann::ordered_json to_trace(const GenerateResult& result);

}  // namespace pinion::pipeline
