// The .pnf file: what is written comes back, and nothing else is taken for one.

#include "pinion/codec/container.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "pinion/base/crc32c.h"
#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

Bytes bytes_of(std::string_view text) {
  const ByteSpan bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

// `records` between the magic and the end mark, with the right checksum.
Bytes file_of(std::string_view records) {
  ByteWriter out;
  out.write_bytes(as_bytes("PNFC\x01"));
  out.write_bytes(as_bytes(records));
  out.write(std::uint8_t{0});
  out.write(crc32c(out.view()));
  return std::move(out).take();
}

std::string_view verdict(ByteSpan file) {
  const auto parsed = parse_container(file);
  return parsed.ok() ? "ok" : name(parsed.error().code);
}

TEST(Container, KeepsBasesAndFramesInOrder) {
  const Bytes basis = bytes_of("a basis"), empty, long_one(70000, std::byte{7});
  Container container;
  container.bases = {basis, long_one};
  container.frames = {{.name = "image", .stream = 0, .frame = long_one},
                      {.name = "text \xc3\xa9", .stream = (1ull << 62) + 3, .frame = empty},
                      {.name = std::string(4096, 'n'), .stream = 0, .frame = basis}};
  const Bytes file = write_container(container);
  const auto parsed = parse_container(file);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  ASSERT_EQ(parsed->bases.size(), 2u);
  EXPECT_TRUE(std::ranges::equal(parsed->bases[0], basis));
  EXPECT_TRUE(std::ranges::equal(parsed->bases[1], long_one));
  ASSERT_EQ(parsed->frames.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(parsed->frames[i].name, container.frames[i].name);
    EXPECT_EQ(parsed->frames[i].stream, container.frames[i].stream);
    EXPECT_TRUE(std::ranges::equal(parsed->frames[i].frame, container.frames[i].frame));
  }
}

TEST(Container, EmptyFileOfTheSpecification) {
  const Bytes file = write_container({});
  EXPECT_EQ(file, file_of(""));
  EXPECT_EQ(file.size(), 10u);
  EXPECT_EQ(verdict(file), "ok");
}

TEST(Container, EveryTruncationAndEveryFlippedBitIsNoticed) {
  const Bytes basis = bytes_of("basis"), frame = bytes_of("frame"), calibration = bytes_of("calibration");
  const Bytes file = write_container({.bases = {basis},
                                      .calibrations = {calibration},
                                      .frames = {{.name = "n", .stream = 3, .frame = frame}}});
  const Result<Container> whole = parse_container(file);
  ASSERT_TRUE(whole.ok());
  ASSERT_EQ(whole->calibrations.size(), 1u);
  EXPECT_TRUE(std::ranges::equal(whole->calibrations[0], calibration));
  for (std::size_t size = 0; size < file.size(); ++size)
    EXPECT_NE(verdict(ByteSpan(file).first(size)), "ok") << size;
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    Bytes damaged = file;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(verdict(damaged), "ok") << bit;
  }
  Bytes longer = file;
  longer.push_back(std::byte{0});
  EXPECT_EQ(verdict(longer), "bad_format");
}

TEST(Container, RecordsThatBreakTheRules) {
  using namespace std::string_view_literals;
  EXPECT_EQ(verdict(file_of("\x01\x02"
                            "ab"sv)),
            "ok");
  EXPECT_EQ(verdict(file_of("\x02\x05\x01n\x01"
                            "f"sv)),
            "ok");
  EXPECT_EQ(verdict(file_of("\x03"sv)), "bad_format") << "unknown kind";
  EXPECT_EQ(verdict(file_of("\x02\x00\x00\x01"
                            "f"sv)),
            "bad_format")
      << "no name";
  EXPECT_EQ(verdict(file_of("\x02\x00\x81\x20" + std::string(4097, 'n'))), "bad_format") << "long name";
  EXPECT_EQ(verdict(file_of("\x02\x00\x01\xc3\x01"
                            "f"sv)),
            "bad_format")
      << "name that is not text";
  EXPECT_EQ(verdict(file_of("\x01\x82\x00"
                            "ab"sv)),
            "bad_format")
      << "size in a second form";
  EXPECT_EQ(verdict(file_of("\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"sv)), "need_more_bytes") << "huge size";
  EXPECT_EQ(verdict(file_of("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"sv)), "bad_format") << "ten bytes";
  EXPECT_EQ(verdict(bytes_of("PNFC\x02")), "unsupported");
  EXPECT_EQ(verdict(bytes_of("PNF1\x01")), "bad_format");
}

}  // namespace
}  // namespace pinion::codec
