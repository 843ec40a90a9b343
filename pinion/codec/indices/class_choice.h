#pragma once
// The encoder's choice of table classes: the shapes that suit all components, a
// scale for each, an offset for each band.

#include <span>

#include "pinion/codec/indices/run_prices.h"

namespace pinion::codec {

struct ClassRequest {
  std::span<const std::uint8_t> last_scales{};  // scales may be written as differences from these;
                                                // empty: from their neighbours only
  const ComponentParams* near = nullptr;        // of values much like these: their shapes and bands are taken
};

// Fills shapes, scales and band scales; threads of the pool share the components. Returns the bits of all
// indices and of the scales.
double choose_index_classes(RunPrices& runs, const ClassRequest& request, IndexTables& tables,
                            ChunkPool& pool, ComponentParams& params);

// The best class for one run, any shape, and its bits. Scale 0 if all values
// are 0.
struct ClassChoice {
  IndexClass index_class;
  double bits = 0;
};
ClassChoice choose_class(std::span<const std::int32_t> values, IndexTables& tables);

}  // namespace pinion::codec
