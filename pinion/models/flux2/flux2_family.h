#pragma once
// FLUX.2 (Dev, Klein and any other size of it) as a model family.

#include "pinion/models/family.h"

namespace pinion::models::flux2 {

const Family& family();

}  // namespace pinion::models::flux2
