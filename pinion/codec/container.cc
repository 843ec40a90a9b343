#include "pinion/codec/container.h"

#include <algorithm>
#include <array>

#include "pinion/base/crc32c.h"
#include "pinion/base/utf8.h"
#include "pinion/codec/entropy/bit_stream.h"

namespace pinion::codec {
namespace {

constexpr std::array<std::uint8_t, 4> kContainerMagic = {'P', 'N', 'F', 'C'};
constexpr std::uint8_t kContainerVersion = 1;
constexpr std::uint64_t kMaxNameBytes = 4096;

enum class Record : std::uint8_t { kEnd = 0, kBasis = 1, kFrame = 2, kCalibration = 3 };

Error broken(std::string_view what, const ByteReader& in) {
  return Error{Errc::kBadFormat,
               ".pnf file: " + std::string(what) + " before offset " + std::to_string(in.offset()), ""};
}

Result<ByteSpan> read_blob(ByteReader& in) {
  PINION_TRY(const std::uint64_t size, read_varint(in, ".pnf file"));
  const ByteSpan blob = in.take(size);
  PINION_TRY_VOID(in.check(".pnf file"));
  return blob;
}

Result<ContainerFrame> read_frame(ByteReader& in) {
  ContainerFrame frame;
  PINION_TRY(frame.stream, read_varint(in, ".pnf file"));
  PINION_TRY(const ByteSpan name, read_blob(in));
  if (name.empty() || name.size() > kMaxNameBytes) return broken("impossible length of a name", in);
  if (!is_utf8(as_text(name))) return broken("a name is not UTF-8", in);
  frame.name = as_text(name);
  PINION_TRY(frame.frame, read_blob(in));
  return frame;
}

}  // namespace

Bytes write_container(const Container& container) {
  ByteWriter out;
  out.write_bytes(std::as_bytes(std::span(kContainerMagic)));
  out.write(kContainerVersion);
  const auto write_blob = [&out](ByteSpan blob) {
    write_varint(out, blob.size());
    out.write_bytes(blob);
  };
  const auto write_assets = [&](Record kind, const std::vector<ByteSpan>& assets) {
    for (const ByteSpan asset : assets) {
      out.write(static_cast<std::uint8_t>(kind));
      write_blob(asset);
    }
  };
  write_assets(Record::kCalibration, container.calibrations);
  write_assets(Record::kBasis, container.bases);
  for (const ContainerFrame& frame : container.frames) {
    PINION_ASSERT(!frame.name.empty() && frame.name.size() <= kMaxNameBytes);
    out.write(static_cast<std::uint8_t>(Record::kFrame));
    write_varint(out, frame.stream);
    write_blob(as_bytes(frame.name));
    write_blob(frame.frame);
  }
  out.write(static_cast<std::uint8_t>(Record::kEnd));
  out.write(crc32c(out.view()));
  return std::move(out).take();
}

Result<Container> parse_container(ByteSpan file) {
  ByteReader in(file);
  const ByteSpan magic = in.take(kContainerMagic.size());
  const auto version = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check(".pnf file"));
  const ByteSpan expected = std::as_bytes(std::span(kContainerMagic));
  if (!std::equal(magic.begin(), magic.end(), expected.begin())) {
    return Error{Errc::kBadFormat, "not a .pnf file: it does not start with PNFC", ""};
  }
  if (version != kContainerVersion) {
    return Error{Errc::kUnsupported,
                 ".pnf file of version " + std::to_string(version) + ", this build reads version 1",
                 "use a newer Pinion"};
  }
  Container container;
  for (;;) {
    const auto kind = in.read<std::uint8_t>();
    PINION_TRY_VOID(in.check(".pnf file"));
    if (kind == static_cast<std::uint8_t>(Record::kEnd)) break;
    if (kind == static_cast<std::uint8_t>(Record::kBasis)) {
      PINION_TRY(const ByteSpan basis, read_blob(in));
      container.bases.push_back(basis);
    } else if (kind == static_cast<std::uint8_t>(Record::kCalibration)) {
      PINION_TRY(const ByteSpan calibration, read_blob(in));
      container.calibrations.push_back(calibration);
    } else if (kind == static_cast<std::uint8_t>(Record::kFrame)) {
      PINION_TRY(ContainerFrame frame, read_frame(in));
      container.frames.push_back(std::move(frame));
    } else {
      return broken("unknown record", in);
    }
  }
  const std::uint32_t computed = crc32c(file.first(in.offset()));
  const auto stored = in.read<std::uint32_t>();
  PINION_TRY_VOID(in.check(".pnf file"));
  if (in.remaining() != 0) return broken("stray bytes", in);
  if (stored != computed)
    return Error{Errc::kBadFormat, ".pnf file is damaged: its checksum does not match", ""};
  return container;
}

}  // namespace pinion::codec
