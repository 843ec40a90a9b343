#pragma once
// Decodes the bodies of frames of mode 2 (docs/format.md §6) on a device: the host reads what is not indices.
// Keeps the state of one stream and the bases that it was given, in device memory that grows with the first
// frames. Used by one thread at a time.

#include <map>
#include <optional>

#include "pinion/codec/cuda/cuda_memory.h"
#include "pinion/codec/cuda/fidelity_jobs.h"
#include "pinion/codec/cuda/index_tables_on_device.h"
#include "pinion/codec/fidelity/fidelity_format.h"

namespace pinion::codec::cuda {

class FidelityOnDevice {
 public:
  // As Decoder::add_basis().
  Result<void> add_basis(ByteSpan asset, const BasisLimits& limits);

  // What a frame is decoded with, besides the frame.
  struct Target {
    const std::byte* on_device;  // the frame's copy there
    std::byte* out;
    DecodeOutcome* outcome;
    DecodeOutcome* outcome_on_host;
    cudaStream_t stream;
  };
  // Puts the work on the stream; `bytes` are the frame. The outcome tells whether indices and states were
  // good.
  Result<void> start(const ParsedFrame& frame, ByteSpan bytes, const Target& target, const DeviceRoom& room);

  // The frame that was started last was good: the next one may refer to it.
  void commit();

  std::size_t bytes() const;

 private:
  struct HeldBasis {
    DeviceMemory memory;
    BasisOnDevice view;
    std::size_t channels = 0;
  };
  // Of one frame.
  struct HeldState {
    DeviceMemory components, means;
    std::uint32_t count = 0;  // of components
  };

  Result<const HeldBasis*> basis_for(const FrameHeader& header) const;
  Result<void> reserve(std::size_t components, std::size_t rows, std::size_t channels, std::size_t pitch,
                       const DeviceRoom& room);
  Result<void> write_parts(const FidelityBody& body, const RowBands& bands, const std::byte* frame,
                           FidelityAdvance& advance, IndexDecodeJob& indices);

  bool is_ready_ = false;  // tables and sizes
  IndexTablesOnDevice tables_;
  IndexTables tables_here_;
  std::map<BasisId, HeldBasis> bases_;
  std::uint64_t coefficients_ = 0;
  // The outline of the last frame: `older` has an element if there is one, components and means are empty.
  // What is behind it is on the device.
  std::optional<StreamState> state_, next_state_;
  HeldState last_, older_, next_;
  bool next_has_references_ = false;
  DeviceMemory residuals_, turned_, parts_, largest_;
  PinnedMemory pinned_parts_;
  std::size_t part_bytes_ = 0;
};

}  // namespace pinion::codec::cuda
