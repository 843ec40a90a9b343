#pragma once
// Side information of planes: docs/planes.md §4. Pure functions.

#include <variant>

#include "pinion/base/bytes.h"
#include "pinion/codec/codec.h"
#include "pinion/codec/planes/component_packing.h"
#include "pinion/codec/planes/range_packing.h"

namespace pinion::codec {

struct RangeSideInfo {
  RangePacking packing;
  std::vector<ChannelRange> ranges;
};

struct ComponentSideInfo {
  ComponentPacking packing;
  std::size_t components = 0;
  std::vector<std::int32_t> offsets;  // empty: those of the step before
};

using PlaneSideInfo = std::variant<RangeSideInfo, ComponentSideInfo>;

Bytes write_side_info(const RangeSideInfo& info);
Bytes write_side_info(const ComponentSideInfo& info);

// Refuses all that §4 tells a receiver to refuse: kBadFormat, kNeedMoreBytes, or kTooLarge for a float32
// tensor of the components over the limits. Nothing is allocated before that is checked.
Result<PlaneSideInfo> parse_side_info(ByteSpan bytes, const DecodeLimits& limits);

}  // namespace pinion::codec
