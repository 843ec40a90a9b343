#include "pinion/codec/video/hevc_units.h"

#include <array>
#include <optional>
#include <vector>

namespace pinion::codec {
namespace {

constexpr std::size_t kUnitHeaderBytes = 2;
constexpr std::size_t kMostBlock = 64;  // side of the largest coding block
constexpr std::size_t kSlackBytes = 64 * 1024;

// NAL unit types, ITU-T H.265 table 7-1.
enum UnitType : unsigned {
  kTrailN = 0,
  kTrailR = 1,
  kIdrWithLeading = 19,
  kIdr = 20,
  kVideoSet = 32,
  kSequenceSet = 33,
  kPictureSet = 34,
  kDelimiter = 35,
  kSeiBefore = 39,
  kSeiAfter = 40,
};

bool is_slice(unsigned type) { return type <= kTrailR || type == kIdrWithLeading || type == kIdr; }

// Whether the bytes at `i` are the 00 00 01 that begins a unit.
bool is_start(ByteSpan bytes, std::size_t i) {
  return i + 3 <= bytes.size() && bytes[i] == std::byte{0} && bytes[i + 1] == std::byte{0} &&
         bytes[i + 2] == std::byte{1};
}

// The next unit from `at` on, without its start code and the zeros behind it; `at` moves to the next start.
// Empty if no start code is where one must be.
std::optional<ByteSpan> next_unit(ByteSpan bytes, std::size_t& at) {
  while (at < bytes.size() && bytes[at] == std::byte{0} && !is_start(bytes, at)) ++at;
  if (!is_start(bytes, at)) return std::nullopt;
  const std::size_t first = at + 3;
  std::size_t last = first;
  while (last < bytes.size() && !is_start(bytes, last)) ++last;
  at = last;
  while (last > first && bytes[last - 1] == std::byte{0}) --last;
  return bytes.subspan(first, last - first);
}

// Bits of a parameter set, emulation prevention taken out. Reading past the end gives zeros and is failed().
class SetReader {
 public:
  explicit SetReader(ByteSpan payload) {
    std::size_t zeros = 0;
    for (const std::byte byte : payload) {
      if (zeros >= 2 && byte == std::byte{3}) {
        zeros = 0;
        continue;
      }
      zeros = byte == std::byte{0} ? zeros + 1 : 0;
      bytes_.push_back(static_cast<std::uint8_t>(byte));
    }
  }

  std::uint32_t bits(unsigned count) {
    std::uint32_t value = 0;
    for (; count > 0; --count) value = value << 1 | bit();
    return value;
  }

  void skip(std::size_t count) { at_ += count; }

  // An unsigned Exp-Golomb code, ue(v).
  std::uint32_t golomb() {
    unsigned zeros = 0;
    while (zeros < 31 && !failed() && bit() == 0) ++zeros;
    return (1u << zeros) - 1 + bits(zeros);
  }

  bool failed() const { return at_ > bytes_.size() * 8; }

 private:
  std::uint32_t bit() {
    const std::size_t byte = at_ / 8, shift = 7 - at_ % 8;
    ++at_;
    return byte < bytes_.size() ? bytes_[byte] >> shift & 1u : 0;
  }

  std::vector<std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

std::uint32_t chroma_format_idc(PictureFormat format) {
  switch (format) {
    case PictureFormat::kGrey:
      return 0;
    case PictureFormat::kGreyIn420:
      return 1;
    case PictureFormat::k444:
      return 3;
  }
  return 0;
}

Error bad(const std::string& what) { return {Errc::kBadFormat, "video: " + what, ""}; }

Error unsupported(const std::string& what) { return {Errc::kUnsupported, "video: " + what, ""}; }

// ITU-T H.265 7.3.2.2, as far as the bit depths.
Result<void> check_sequence_set(ByteSpan payload, const PictureKind& kind) {
  constexpr std::size_t kProfileTierLevelBits = 96;  // of a video without temporal sub-layers
  SetReader in(payload);
  in.skip(4);
  const bool layered = in.bits(3) != 0;
  in.skip(1 + kProfileTierLevelBits);
  const std::uint32_t id = in.golomb();
  const std::uint32_t chroma = in.golomb();
  const bool separate_planes = chroma == 3 && in.bits(1) != 0;
  const std::uint64_t coded_width = in.golomb(), coded_height = in.golomb();
  std::uint64_t width = coded_width, height = coded_height;
  if (in.bits(1) != 0) {
    // The window counts in chroma samples.
    const std::uint64_t unit = chroma == 1 ? 2 : 1;
    const std::uint64_t left = in.golomb(), right = in.golomb(), top = in.golomb(), bottom = in.golomb();
    if (unit * (left + right) > width || unit * (top + bottom) > height)
      return bad("a window outside its picture");
    width -= unit * (left + right);
    height -= unit * (top + bottom);
  }
  const std::uint32_t luma_depth = in.golomb(), chroma_depth = in.golomb();
  if (in.failed()) return bad("a sequence parameter set ends too early");
  if (layered || separate_planes || id > 15) return unsupported("layers or separate colour planes");
  if (chroma != chroma_format_idc(kind.format)) return unsupported("another chroma format than agreed");
  // A window may hide no more than what fills up the last coding blocks.
  const bool padded_too_far = coded_width >= width + kMostBlock || coded_height >= height + kMostBlock;
  if (width != kind.width || height != kind.height || padded_too_far) {
    return unsupported("pictures of " + std::to_string(width) + " x " + std::to_string(height) + ", not " +
                       std::to_string(kind.width) + " x " + std::to_string(kind.height));
  }
  if (luma_depth != 0 || chroma_depth != 0) return unsupported("samples of more than 8 bits");
  return {};
}

struct Seen {
  bool video_set = false, sequence_set = false, picture_set = false;
  unsigned slices = 0;
  bool idr = false;
  bool checksum = false;
};

// ITU-T H.265 D.2.19. Only the first message of a unit is looked at: our encoder writes just this one.
bool is_whole_picture_hash(ByteSpan payload, const PictureKind& kind) {
  constexpr std::array<std::size_t, 3> kHashBytes{16, 2, 4};  // MD5, CRC, checksum
  constexpr unsigned kDecodedPictureHash = 132;
  if (payload.size() < 3 || static_cast<unsigned>(payload[0]) != kDecodedPictureHash) return false;
  const auto size = static_cast<std::size_t>(payload[1]), type = static_cast<std::size_t>(payload[2]);
  const std::size_t planes = kind.format == PictureFormat::kGrey ? 1 : 3;
  return type < kHashBytes.size() && size == 1 + planes * kHashBytes[type] && payload.size() >= 2 + size;
}

Result<void> look_at(ByteSpan unit, const PictureKind& kind, Seen& seen) {
  if (unit.size() <= kUnitHeaderBytes) return bad("an empty unit");
  const auto first = static_cast<unsigned>(unit[0]), second = static_cast<unsigned>(unit[1]);
  if ((first & 0x81u) != 0 || second != 1) return unsupported("layers, or a unit header that is none");
  const unsigned type = first >> 1;
  const ByteSpan payload = unit.subspan(kUnitHeaderBytes);
  if (is_slice(type)) {
    const bool starts_picture = (static_cast<unsigned>(payload[0]) & 0x80u) != 0;
    if (!starts_picture || ++seen.slices > 1) return unsupported("more than one slice segment");
    seen.idr = type > kTrailR;
    return {};
  }
  const bool set = type == kVideoSet || type == kSequenceSet || type == kPictureSet;
  if (!set && type != kDelimiter && type != kSeiBefore && type != kSeiAfter)
    return unsupported("units of type " + std::to_string(type));
  if (type != kSeiAfter && seen.slices > 0) return bad("a unit behind the slice that belongs before it");
  if (type == kSeiAfter) seen.checksum = seen.checksum || is_whole_picture_hash(payload, kind);
  if (!set) return {};
  bool& once = type == kVideoSet      ? seen.video_set
               : type == kSequenceSet ? seen.sequence_set
                                      : seen.picture_set;
  if (once) return unsupported("a parameter set twice");
  once = true;
  return type == kSequenceSet ? check_sequence_set(payload, kind) : Result<void>();
}

}  // namespace

Result<AccessUnitInfo> inspect_access_unit(ByteSpan access_unit, const PictureKind& kind) {
  const std::size_t picture_bytes = kind.width * kind.height * plane_count(kind.format);
  if (access_unit.size() > 2 * picture_bytes + kSlackBytes) {
    return Error{Errc::kTooLarge, "video: " + std::to_string(access_unit.size()) + " bytes for one picture",
                 ""};
  }
  Seen seen;
  std::size_t at = 0;
  do {
    const std::optional<ByteSpan> unit = next_unit(access_unit, at);
    if (!unit) return bad("no start code where a unit must begin");
    PINION_TRY_VOID(look_at(*unit, kind, seen));
  } while (at < access_unit.size());
  if (seen.slices == 0) return bad("no picture");
  const bool sets = seen.video_set && seen.sequence_set && seen.picture_set;
  const bool any_set = seen.video_set || seen.sequence_set || seen.picture_set;
  if (seen.idr ? !sets : any_set) return unsupported("a key picture and its parameter sets come together");
  return AccessUnitInfo{seen.idr, seen.checksum};
}

}  // namespace pinion::codec
