#include "bench/loop/range_symbols.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/float_formats.h"

namespace pinion::bench {
namespace {

struct Range {
  std::uint16_t low_bits, high_bits;  // bfloat16
  double low, step;

  Range(std::uint16_t low_value, std::uint16_t high_value, int bits)
      : low_bits(low_value), high_bits(high_value), low(bf16_to_float(low_value)) {
    step = (bf16_to_float(high_value) - low) / ((1 << bits) - 1);
  }
};

// The range, not narrower than the values: a bfloat16 has 8 bits.
Range range_of(std::span<const float> values, int bits) {
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  const auto outward = [](float value, float by) {
    const std::uint16_t near = float_to_bf16(value);
    const float back = bf16_to_float(near);
    return back == value || (back < value) == (by < 0) ? near : float_to_bf16(value + by * std::abs(value));
  };
  constexpr float kUlp = 1.0f / 128;
  return Range(outward(*least, -kUlp), outward(*greatest, kUlp), bits);
}

std::uint32_t symbol(float value, const Range& range, int bits) {
  if (!(range.step > 0)) return 0;
  const double at = std::round((value - range.low) / range.step);
  return static_cast<std::uint32_t>(std::clamp(at, 0.0, static_cast<double>((1 << bits) - 1)));
}

}  // namespace

std::size_t symbol_bytes(std::span<const std::uint8_t> bits, std::size_t rows) {
  std::size_t bytes = 0;
  for (const std::uint8_t b : bits) {
    if (b > 0) bytes += 4 + rows * (b > 8 ? 2 : 1);
  }
  return bytes;
}

Bytes to_symbols(const codec::Matrix& values, std::span<const std::uint8_t> bits) {
  PINION_ASSERT(values.rows == bits.size());
  ByteWriter ranges;
  Bytes high, low;
  for (std::size_t c = 0; c < bits.size(); ++c) {
    if (bits[c] == 0) continue;
    const Range range = range_of(values.row(c), bits[c]);
    ranges.write(range.low_bits);
    ranges.write(range.high_bits);
    for (const float value : values.row(c)) {
      const std::uint32_t s = symbol(value, range, bits[c]);
      if (bits[c] > 8) high.push_back(std::byte(s >> 8));
      low.push_back(std::byte(s & 0xff));
    }
  }
  ranges.write_bytes(high);
  ranges.write_bytes(low);
  return std::move(ranges).take();
}

Result<codec::Matrix> from_symbols(ByteSpan symbols, std::span<const std::uint8_t> bits, std::size_t rows) {
  if (symbols.size() != symbol_bytes(bits, rows)) {
    return Error{Errc::kBadFormat, "symbols have another size than their bits say", ""};
  }
  ByteReader reader(symbols);
  std::vector<Range> ranges;
  std::size_t wide = 0;
  for (const std::uint8_t b : bits) {
    if (b == 0) continue;
    const auto low = reader.read<std::uint16_t>();
    ranges.emplace_back(low, reader.read<std::uint16_t>(), b);
    wide += b > 8;
  }
  ByteReader high(reader.take(wide * rows));
  codec::Matrix values(bits.size(), rows);
  auto range = ranges.begin();
  for (std::size_t c = 0; c < bits.size(); ++c) {
    if (bits[c] == 0) continue;
    for (float& value : values.row(c)) {
      std::uint32_t s = reader.read<std::uint8_t>();
      if (bits[c] > 8) s |= static_cast<std::uint32_t>(high.read<std::uint8_t>()) << 8;
      value = static_cast<float>(range->low + s * range->step);
    }
    ++range;
  }
  return values;
}

}  // namespace pinion::bench
