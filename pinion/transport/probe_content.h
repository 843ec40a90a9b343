#pragma once
// What messages carry to find out how fast a link is (docs/protocol.md, section 4.9).

#include "pinion/transport/message.h"

namespace pinion::transport {

inline constexpr std::size_t kMostProbeBytes = 4 << 20;

// The first `size` of kMostProbeBytes bytes that no layer below can make smaller. They are made once and
// shared; any thread.
Blob probe_content(std::size_t size);

}  // namespace pinion::transport
