#include "pinion/codec/groups/group_codec.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>

#include "pinion/base/float_formats.h"
#include "pinion/codec/groups/group_loops.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kBlock = 2048;            // elements of a row that are worked on at once
constexpr std::size_t kPartElements = 1 << 16;  // about, of one thread in one go
constexpr std::uint16_t kInfinity = 0x7f80;     // as the upper half of a binary32

static_assert(kBlock % kGroupElements == 0);

float largest_index(Mode mode) { return mode == Mode::kInt8 ? 127.0f : 7.0f; }

std::size_t groups_of(std::size_t elements) { return (elements + kGroupElements - 1) / kGroupElements; }

struct Layout {
  explicit Layout(const Shape& shape)
      : rows(static_cast<std::size_t>(rows_of(shape))),
        channels(static_cast<std::size_t>(channels_of(shape))),
        groups(groups_of(channels)),
        elements(rows * channels) {
    // Parts begin at even elements, so that no two write to one byte of 4-bit integers.
    part_rows = std::max<std::size_t>(2, kPartElements / std::max<std::size_t>(channels, 1) / 2 * 2);
  }

  std::size_t rows, channels, groups, elements;
  std::size_t part_rows = 2;

  // The place of a group's scale, from its row and first channel.
  std::size_t group(std::size_t row, std::size_t channel) const {
    return row * groups + channel / kGroupElements;
  }

  // Calls each(row, first channel, count) for blocks of at most kBlock elements, from the pool's threads.
  template <class Each>
  void for_each_block(ChunkPool& pool, Each each) const {
    pool.run((rows - 1) / part_rows + 1, [&](std::size_t part, std::size_t) {
      for (std::size_t r = part * part_rows; r < std::min(rows, (part + 1) * part_rows); ++r) {
        for (std::size_t c = 0; c < channels; c += kBlock) each(r, c, std::min(kBlock, channels - c));
      }
    });
  }
};

void widen(const GroupLoops& loops, const std::byte* from, DType dtype, std::size_t count, float* to) {
  if (dtype == DType::kBF16) {
    std::uint16_t bits[kBlock];
    std::memcpy(bits, from, 2 * count);
    return loops.widen_bf16(bits, count, to);
  }
  to_float(from, dtype, static_cast<std::int64_t>(count), to);
}

void narrow(const GroupLoops& loops, float* from, DType dtype, std::size_t count, std::byte* to) {
  if (dtype == DType::kBF16) {
    std::uint16_t bits[kBlock];
    loops.narrow_bf16(from, count, bits);
    std::memcpy(to, bits, 2 * count);
    return;
  }
  from_float(from, static_cast<std::int64_t>(count), dtype, to);
}

// The largest finite value of the type, as a float.
float limit_of(DType dtype) {
  if (dtype == DType::kF16) return 65504.0f;
  return dtype == DType::kBF16 ? bf16_to_float(0x7f7f) : std::numeric_limits<float>::max();
}

// Integers of `count` elements from element `begin` on. Those of 4 bits share a byte with a neighbour where
// a row begins or ends at an odd element.
void store_integers(const GroupLoops& loops, Mode mode, std::int8_t* integers, std::size_t begin,
                    std::size_t count, std::byte* to) {
  if (mode == Mode::kInt8) {
    std::memcpy(to + begin, integers, count);
    return;
  }
  auto* const bytes = reinterpret_cast<std::uint8_t*>(to);
  if (begin % 2 != 0) {
    bytes[begin / 2] = static_cast<std::uint8_t>(bytes[begin / 2] | integers[0] << 4);
    ++integers, ++begin, --count;
  }
  loops.pack(integers, count / 2 * 2, bytes + begin / 2);
  if (count % 2 != 0) bytes[(begin + count) / 2] = static_cast<std::uint8_t>(integers[count - 1] & 0xf);
}

void load_integers(const GroupLoops& loops, Mode mode, const std::byte* from, std::size_t begin,
                   std::size_t count, std::int8_t* integers) {
  if (mode == Mode::kInt8) {
    std::memcpy(integers, from + begin, count);
    return;
  }
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(from);
  if (begin % 2 != 0) {
    *integers++ = static_cast<std::int8_t>(static_cast<std::int8_t>(bytes[begin / 2]) >> 4);
    ++begin, --count;
  }
  loops.unpack(bytes + begin / 2, count / 2 * 2, integers);
  if (count % 2 != 0)
    integers[count - 1] =
        static_cast<std::int8_t>(static_cast<std::int8_t>(bytes[(begin + count) / 2] << 4) >> 4);
}

}  // namespace

std::size_t group_body_bytes(Mode mode, const Shape& shape) {
  const Layout layout(shape);
  const std::size_t integers = mode == Mode::kInt8 ? layout.elements : (layout.elements + 1) / 2;
  return 2 * layout.rows * layout.groups + integers;
}

Result<Bytes> encode_groups(Mode mode, const TensorView& tensor, ChunkPool& pool) {
  const Layout layout(tensor.shape);
  const FrameHeader header{mode, tensor.dtype, tensor.shape, std::nullopt, std::nullopt};
  if (layout.elements == 0) return write_frame(header, {});
  const GroupLoops& loops = group_loops();
  const std::size_t width = size_bytes(tensor.dtype);
  const float most = largest_index(mode);
  std::atomic<bool> finite = true;
  PendingFrame frame(header, group_body_bytes(mode, tensor.shape));
  std::byte* const scales = frame.body().data();
  std::byte* const integers_to = scales + 2 * layout.rows * layout.groups;
  layout.for_each_block(pool, [&](std::size_t row, std::size_t channel, std::size_t count) {
    float values[kBlock];
    std::int8_t integers[kBlock];
    std::uint16_t block_scales[kBlock / kGroupElements];
    const std::size_t begin = row * layout.channels + channel;
    widen(loops, tensor.data + begin * width, tensor.dtype, count, values);
    const float size = loops.encode(values, count, most, block_scales, integers);
    if (!(size <= std::numeric_limits<float>::max())) finite = false;
    std::memcpy(scales + 2 * layout.group(row, channel), block_scales, 2 * groups_of(count));
    store_integers(loops, mode, integers, begin, count, integers_to);
  });
  if (!finite) {
    return Error{Errc::kInvalidArgument,
                 "the tensor holds NaN or infinity, which " + std::string(name(mode)) + " cannot code",
                 "use lossless or bounded for it"};
  }
  return std::move(frame).finish();
}

Result<Tensor> decode_groups(const FrameHeader& header, ByteSpan body, ChunkPool& pool) {
  const Layout layout(header.shape);
  Tensor tensor = Tensor::empty(header.dtype, header.shape);
  if (layout.elements == 0) return tensor;
  if (body.size() != group_body_bytes(header.mode, header.shape))
    return Error{Errc::kBadFormat, "frame of groups of another size than its tensor's", ""};
  const std::size_t scale_bytes = 2 * layout.rows * layout.groups;
  for (std::size_t at = 0; at < scale_bytes; at += 2) {
    std::uint16_t scale;
    std::memcpy(&scale, body.data() + at, 2);
    if (scale >= kInfinity) return Error{Errc::kBadFormat, "frame of groups with an impossible scale", ""};
  }
  const bool has_padding = header.mode == Mode::kInt4 && layout.elements % 2 != 0;
  if (has_padding && (body.back() >> 4) != std::byte{0})
    return Error{Errc::kBadFormat, "frame of groups with stray bits", ""};

  const GroupLoops& loops = group_loops();
  const std::size_t width = size_bytes(header.dtype);
  const float limit = limit_of(header.dtype);
  std::byte* const out = tensor.mutable_data();
  layout.for_each_block(pool, [&](std::size_t row, std::size_t channel, std::size_t count) {
    float values[kBlock];
    std::int8_t integers[kBlock];
    std::uint16_t block_scales[kBlock / kGroupElements];
    const std::size_t begin = row * layout.channels + channel;
    load_integers(loops, header.mode, body.data() + scale_bytes, begin, count, integers);
    std::memcpy(block_scales, body.data() + 2 * layout.group(row, channel), 2 * groups_of(count));
    loops.decode(integers, block_scales, count, limit, values);
    narrow(loops, values, header.dtype, count, out + begin * width);
  });
  return tensor;
}

}  // namespace pinion::codec
