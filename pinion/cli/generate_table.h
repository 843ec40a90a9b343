#pragma once
// What a job cost, for people: one row per step and the totals.

#include <string>

#include "pinion/pipeline/generate.h"

namespace pinion::cli {

std::string generate_table(const pipeline::GenerateResult& result);

}  // namespace pinion::cli
