#pragma once
// What a model is calibrated on when nobody says otherwise.

#include <string>
#include <vector>

namespace pinion::calibration {

// Varied prompts: people, places, things, light, styles, text in pictures. The same in every version.
const std::vector<std::string>& built_in_prompts();

}  // namespace pinion::calibration
