#pragma once
// The parts of the reference decoder, by section of docs/format.md: what a frame's header says, the three
// modes, the basis asset. For pinion/codec/reference/reference_decoder.cc only.

#include "pinion/codec/reference/reference_coding.h"
#include "pinion/codec/reference/reference_decoder.h"

namespace pinion::codec {

// §2.
struct ReferenceHeader {
  std::uint64_t mode = 0;
  DType dtype = DType::kF32;
  Shape shape;
  std::size_t rows = 0;
  std::size_t channels = 0;
  std::optional<ReferenceBasisId> basis;
  std::optional<std::uint32_t> previous;
  std::uint32_t checksum = 0;  // of the frame itself
};

// §5.2: a section of planes, to the end of `in`. Gives the bytes of each.
struct ReferencePlanesForm {
  std::size_t planes = 1;
  std::size_t elements = 1;
  std::size_t channels = 1;
  std::vector<std::uint8_t> contexts;  // of each element, or none
};
Result<std::vector<std::vector<std::uint8_t>>> read_reference_planes(ReferenceReader& in,
                                                                     const ReferencePlanesForm& form);

// §5. `previous` is null if it is a key frame.
Result<Tensor> decode_reference_lossless(const ReferenceHeader& header, ReferenceReader body,
                                         const Tensor* previous);

// §9. `previous` is null if it is a key frame.
Result<Tensor> decode_reference_bounded(const ReferenceHeader& header, ReferenceReader body,
                                        const Tensor* previous);

// §10, §11.
Result<Tensor> decode_reference_groups(const ReferenceHeader& header, ReferenceReader body);

// §6. `basis` is null if the frame needs none, `previous` if it is a key frame.
struct ReferenceFidelity {
  ReferenceFrame frame;
  ReferenceState state;
};
Result<ReferenceFidelity> decode_reference_fidelity(const ReferenceHeader& header, ReferenceReader body,
                                                    const ReferenceBasis* basis,
                                                    const ReferenceState* previous, ReferenceTables& tables);

// §6.2.
struct ReferenceParams {
  struct Predictor {
    std::int64_t first = 0, second = 0;  // in units of 1/64
  };
  struct Offsets {
    std::int64_t one = 0, more = 0;
  };
  int rare_shape = 0, wide_shape = 0;
  std::vector<int> scales;                     // of each component
  std::vector<int> band_scales;                // of each band
  std::vector<Predictor> predictors;           // of each component, if there are references
  std::array<Offsets, 17> offsets_of_scale{};  // 1 to 16

  ReferenceClass class_of(std::size_t component, std::size_t band) const;
};
Result<std::vector<int>> read_reference_differences(ReferenceReader& in, std::string_view name,
                                                    std::size_t count, int most,
                                                    const std::vector<int>* base);
struct ReferenceParamsKind {
  std::size_t components = 0;
  std::size_t bands = 1;
  std::size_t references = 0;
  bool has_offsets = false;
  const std::vector<int>* last_scales = nullptr;
};
Result<ReferenceParams> read_reference_params(ReferenceReader& in, const ReferenceParamsKind& kind);

// §6.3: the grid and its chunks, to the end of `in`. Gives one list a component, in coded order.
struct ReferenceMatrix {
  std::vector<std::size_t> rows_of_band;  // how many
  std::optional<ReferenceClass> mean_class;
  std::size_t channels = 0;
};
struct ReferenceIntegers {
  std::vector<std::int64_t> means;
  std::vector<std::vector<std::int64_t>> components;
};
Result<ReferenceIntegers> read_reference_grid(ReferenceReader& in, const ReferenceParams& params,
                                              const ReferenceMatrix& matrix, ReferenceTables& tables);

// §7.
Result<ReferenceBasis> read_reference_basis(ByteSpan asset, const BasisLimits& limits,
                                            ReferenceTables& tables, ReferenceLog* log);

}  // namespace pinion::codec
