#pragma once
// The choice of `--codec auto` for people.

#include <string>

#include "pinion/codec/break_even.h"

namespace pinion::cli {

// One line, such as "codec auto: int8, 19.3 ms a step expected; raw 41.0 ms, lossless 33.2 ms, at 92 MB/s,
// 0.40 ms round trip; choosing took 84 ms".
std::string codec_choice_text(const codec::CodecChoice& choice);

}  // namespace pinion::cli
