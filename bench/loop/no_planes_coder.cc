// Stands in for planes_coder.cc where there is no x265 or libde265.

#include "bench/loop/planes_coder.h"

namespace pinion::bench {

Result<std::unique_ptr<StateCoder>> make_planes_coder(int) {
  return Error{Errc::kUnsupported, "coder planes needs x265 and libde265, which this build lacks",
               "install libx265-dev and libde265-dev and build again, or leave planes out"};
}

}  // namespace pinion::bench
