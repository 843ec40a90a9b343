#pragma once
// What the kernels that encode modes 1 and 3 work on: pointers into the workspace of one encoder, sizes, and
// what earlier kernels decided. Plain data, passed to kernels by value; all pointers are to device memory.

#include <vector_types.h>

#include <cstddef>
#include <cstdint>

#include "pinion/codec/cuda/crc32c_parts.h"
#include "pinion/codec/lossless/element_numbers.h"

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kWarp = 32;
inline constexpr std::uint32_t kSymbols = 256;
inline constexpr std::uint32_t kClasses = 16;
inline constexpr std::uint32_t kFinest =
    8;  // classes that the encoder begins with: their tables leave room for more warps
inline constexpr std::uint32_t kPlanes = 4;  // at most
inline constexpr std::uint32_t kSlots = 4096;
// Elements of a chunk that the encoder makes: half of the CPU's, since a device wants many at once.
inline constexpr std::uint32_t kEncodedChunk = 1 << 13;

// Chunks whose sizes are summed as they are made, so that the place of a chunk is found from few numbers.
inline constexpr std::uint32_t kGroupChunks = 256;

// Room for what a chunk of the encoder becomes: states, 12 bits a symbol and a word a lane at most, and what
// copies may read beside it.
inline constexpr std::size_t kSlotBytes = 4 * kWarp + kEncodedChunk / 2 * 3 + 2 * kWarp + 64;

// Classes of channels go on from the first one behind the last, so that this many may be read from any
// channel on.
inline constexpr std::uint32_t kChannelRing = 256;

// The tensor that is coded and the one before it.
struct ElementsOf {
  const std::byte* now = nullptr;
  const std::byte* before = nullptr;  // null if nothing may be predicted
  std::uint64_t count = 0;            // ≥ 1
  std::uint32_t channels = 1;
  std::uint32_t width = 1;  // bytes of an element and planes
  NumberForm key_form = NumberForm::kPlain;
};

enum class PlaneTreatment : std::uint32_t { kRaw, kConstant, kByChannel, kByContext };  // as in the frame

// What was decided about a plane.
struct PlanePlan {
  PlaneTreatment treatment;
  std::uint32_t constant;
  std::uint32_t classes;      // that the frame has
  std::uint32_t header_bits;  // of class map and tables
  bool is_coded;
};

// How often bytes occur in a sample: of a key frame's numbers and of predicted ones, and with the contexts
// of these.
struct SampleCounts {
  std::uint32_t bytes[2][kPlanes][kSymbols];
  std::uint32_t contexts[kSymbols], context_sums[kSymbols];
};

// What a reader of the results wants, and what the kernels tell each other.
struct EncodeOutcome {
  std::uint64_t frame_bytes;
  std::uint64_t begin;  // of the frame in its buffer
  std::uint32_t checksum;
  std::uint32_t crc_sum;     // of the parts done so far
  std::uint32_t parts_done;  // blocks of the last kernel
  std::uint32_t not_finite;
  std::uint32_t is_predicted;  // numbers are differences from those before, classes are of contexts
  std::uint32_t refers;        // the frame needs the one before
  std::uint32_t is_raw;
  std::uint32_t large_numbers;  // of mode 3: those above one byte
  std::uint32_t unused;         // so that `serial` is the last word
  std::uint32_t serial;         // counts outcomes: how the host knows a new one
};

// What stays from one frame to the next.
struct KeptByEncoder {
  std::uint32_t serial;    // of the last outcome
  std::uint32_t checksum;  // of the last frame
};

// Tables of the checksum.
struct CrcTables {
  const std::uint32_t* stride = nullptr;    // kCrcTableEntries
  const CrcPowersOfParts* parts = nullptr;  // for kCrcPartWords
};

// What an element of mode 3 (docs/format.md §9) is coded with.
struct alignas(16) BoundedStep {
  float step, bound, inverse;  // of the step
};

// What encoding of mode 3 needs besides.
struct BoundedCoding {
  bool per_channel = false;
  bool may_refer = false;  // to `state`
  double size = 0;         // of a relative bound
  BoundedStep one{};       // of all elements, if it is not by channel, and in the frame
  std::uint16_t one_in_frame = 0;
  BoundedStep* steps = nullptr;  // [channels], and in the frame
  std::uint16_t* step_bits = nullptr;
  double* squares = nullptr;             // [row parts, channels]
  std::uint32_t* finite = nullptr;       // likewise: how many of these
  std::byte* state = nullptr;            // what the decoder has, then what it will have; null if nobody asks
  std::uint8_t* escape_masks = nullptr;  // a bit for each element
  std::uint32_t* escapes_of_chunk = nullptr;  // [chunks]
  std::uint32_t* escapes_of_group = nullptr;  // [groups of chunks], 0 at first
};

// In how many parts the rows are summed, by kernels that have a row's channels side by side.
inline constexpr std::uint64_t kRowPartEntries = 1 << 20;  // parts times channels, or one part
constexpr std::uint32_t row_parts(std::uint64_t rows, std::uint32_t channels) {
  constexpr std::uint64_t kMost = 32;
  const std::uint64_t room = channels < kRowPartEntries ? kRowPartEntries / channels : 1;
  const std::uint64_t parts = rows < kMost ? rows : kMost;
  return static_cast<std::uint32_t>(parts < room ? parts : room);
}

struct EncodeJob {
  ElementsOf elements;  // in mode 3 the numbers
  const std::byte* tensor = nullptr;
  std::uint32_t tensor_width = 1;  // bytes of its elements
  std::uint8_t mode = 1;
  BoundedCoding bounded;         // of mode 3
  std::byte* numbers = nullptr;  // likewise
  std::uint32_t multiprocessors = 1;
  std::uint32_t chunks = 0;
  std::uint32_t map_words = 0;  // room for a plane's class map and tables in `headers`, in 32-bit words

  std::uint8_t shape[80];  // rank and extents as in the frame
  std::uint32_t shape_bytes = 0;
  std::uint8_t dtype = 0;

  CrcTables crc;
  EncodeOutcome* outcome_on_host = nullptr;  // written by the last kernel: page-locked memory
  KeptByEncoder* kept = nullptr;             // null: nobody is told
  std::size_t cleared_bytes = 0;             // from `outcome` on: what the first kernel fills with 0
  EncodeOutcome* outcome = nullptr;          // 0 at first
  std::uint32_t* counts = nullptr;           // [planes, classes, symbols], 0 at first
  std::uint32_t* headers = nullptr;          // [planes, map_words], 0 at first
  std::uint64_t* group_sums = nullptr;       // [planes, groups of chunks], both_bytes() of them, 0 at first
  SampleCounts* samples = nullptr;           // 0 between frames
  std::uint32_t* sums = nullptr;             // [planes, channels]: of a sample of a channel's bytes
  std::uint8_t* class_of_channel = nullptr;  // [planes, channels + kChannelRing], the finest classes
  std::uint8_t* class_of_context = nullptr;  // [256], likewise
  PlanePlan* plans = nullptr;                // [planes]
  uint2* tables = nullptr;                   // [planes, kFinest, symbols]: reciprocal and range
  std::byte* slots = nullptr;                // [planes, chunks, kSlotBytes]; a chunk ends where its slot does
  std::uint32_t* sizes = nullptr;            // [planes, chunks], bytes
  std::byte* frame = nullptr;                // 16-byte aligned
};

}  // namespace pinion::codec::cuda
