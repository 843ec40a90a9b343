#pragma once
// The codec beside products of matrices on another stream: how much slower each makes the other.

#include "bench/device_timing.h"

namespace pinion::bench {

bool run_beside_products(const Setting& setting);

}  // namespace pinion::bench
