#include "pinion/codec/lossless/symbol_classes.h"

#include <algorithm>

namespace pinion::codec {

SymbolClasses::SymbolClasses(const PlaneCoding& coding, std::int64_t channels, std::int64_t chunk_elements)
    : coding_(coding) {
  if (coding.kind != PlaneKind::kByChannel || coding.class_of.empty()) return;
  ring_.resize(static_cast<std::size_t>(channels + chunk_elements));
  std::size_t filled = coding.class_of.size();
  std::copy(coding.class_of.begin(), coding.class_of.end(), ring_.begin());
  while (filled < ring_.size()) {  // a whole number of rings so far
    const std::size_t more = std::min(filled, ring_.size() - filled);
    std::copy_n(ring_.begin(), more, ring_.begin() + static_cast<std::ptrdiff_t>(filled));
    filled += more;
  }
}

const std::uint8_t* SymbolClasses::at(std::int64_t begin, std::size_t count, const std::uint8_t* contexts,
                                      std::uint8_t* scratch) const {
  if (coding_.tables.size() <= 1) return nullptr;
  if (coding_.kind == PlaneKind::kByChannel)
    return ring_.data() + begin % static_cast<std::int64_t>(coding_.class_of.size());
  const std::uint8_t* class_of = coding_.class_of.data();
  for (std::size_t i = 0; i < count; ++i) scratch[i] = class_of[contexts[i]];
  return scratch;
}

}  // namespace pinion::codec
