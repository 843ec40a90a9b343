#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pinion/base/safetensors.h"

namespace pinion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A file of that header (its true length in front) and `data_bytes` zero bytes of data.
Bytes file_of(std::string_view header, std::size_t data_bytes = 0) {
  ByteWriter writer;
  writer.write<std::uint64_t>(header.size());
  writer.write_bytes(as_bytes(header));
  writer.write_bytes(Bytes(data_bytes));
  return std::move(writer).take();
}

Result<SafetensorsHeader> parse(const Bytes& file) { return parse_safetensors(file, file.size()); }

Error error_of(std::string_view header, std::size_t data_bytes = 0) {
  const Bytes file = file_of(header, data_bytes);
  const auto parsed = parse(file);
  EXPECT_FALSE(parsed.ok()) << header;
  return parsed.ok() ? Error{} : parsed.error();
}

// One tensor "a" with that dtype, shape and offsets, written as JSON.
std::string tensor_a(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return R"({"a":{"dtype":)" + std::string(dtype) + R"(,"shape":)" + std::string(shape) +
         R"(,"data_offsets":)" + std::string(offsets) + "}}";
}

TEST(ParseSafetensors, ReadsTensorsInTheOrderOfTheirData) {
  const Bytes file = file_of(R"({"__metadata__":{"format":"pt"},)"
                             R"("late":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
                             R"("early":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("none":{"dtype":"F16","shape":[0,5],"data_offsets":[20,20]},)"
                             R"("scalar":{"dtype":"U8","shape":[],"data_offsets":[20,21]}}   )",
                             21);
  const auto parsed = parse(file);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  ASSERT_EQ(parsed->entries.size(), 4u);
  const SafetensorsEntry& late = parsed->entries[1];
  EXPECT_EQ(parsed->entries[0].name, "early");
  EXPECT_EQ(late.name, "late");
  EXPECT_EQ(late.dtype, DType::kBF16);
  EXPECT_EQ(late.shape, (Shape{2, 3}));
  EXPECT_EQ(late.begin, file.size() - 21 + 8);
  EXPECT_EQ(late.end, file.size() - 21 + 20);
  EXPECT_EQ(parsed->entries[3].end, file.size());
  EXPECT_THAT(parsed->metadata, ElementsAre(testing::Pair("format", "pt")));
}

TEST(ParseSafetensors, HeaderAloneIsEnough) {
  const Bytes file = file_of(tensor_a(R"("F32")", "[1024]", "[0,4096]"), 4096);
  const auto parsed = parse_safetensors(ByteSpan(file).first(file.size() - 4096), file.size());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->entries[0].end, file.size());
}

TEST(ParseSafetensors, FileWithoutTensors) { EXPECT_TRUE(parse(file_of("{}")).value().entries.empty()); }

TEST(ParseSafetensors, EveryTruncationIsAnError) {
  const Bytes file = file_of(tensor_a(R"("F32")", "[4]", "[0,16]"), 16);
  ASSERT_TRUE(parse(file).ok());
  for (std::size_t size = 0; size < file.size(); ++size) {
    const auto parsed = parse_safetensors(ByteSpan(file).first(size), size);
    ASSERT_FALSE(parsed.ok()) << size;
    EXPECT_EQ(parsed.error().code, Errc::kBadFormat) << size;
  }
}

TEST(ParseSafetensors, LengthThatLies) {
  for (const std::uint64_t length : {std::uint64_t{3}, std::uint64_t{1000}, UINT64_MAX, UINT64_MAX - 7}) {
    Bytes file = file_of("{}");
    std::memcpy(file.data(), &length, sizeof(length));
    const auto parsed = parse(file);
    ASSERT_FALSE(parsed.ok()) << length;
    EXPECT_EQ(parsed.error().code, Errc::kBadFormat);
    EXPECT_THAT(parsed.error().text, HasSubstr("its length of " + std::to_string(length) + " bytes is"));
  }
}

TEST(ParseSafetensors, LimitsHold) {
  const Bytes file = file_of(
      R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})");
  EXPECT_TRUE(parse_safetensors(file, file.size(), {.max_header_bytes = 200, .max_tensors = 2}).ok());
  EXPECT_THAT(parse_safetensors(file, file.size(), {.max_header_bytes = 50, .max_tensors = 2}).error().text,
              HasSubstr("over the limit of 50"));
  EXPECT_THAT(parse_safetensors(file, file.size(), {.max_header_bytes = 200, .max_tensors = 1}).error().text,
              HasSubstr("too many tensors"));
}

TEST(ParseSafetensors, NotAJsonObject) {
  for (const char* header : {"", " ", "null", "[]", "42", "{", "{]", "{\"a\":}", "{} x", "{'a':1}",
                             "\xff\xfe{}", "{\"a\":NaN}", "{\"\xc3\":1}"}) {
    EXPECT_THAT(error_of(header).text, HasSubstr("not a JSON object")) << header;
  }
}

TEST(ParseSafetensors, DeepNestingIsRefusedWithoutHarm) {
  const std::size_t depth = 200'000;
  EXPECT_THAT(error_of(std::string(depth, '[')).text, HasSubstr("not a JSON object"));
  const std::string nested = R"({"a":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
  EXPECT_THAT(error_of(nested).text, HasSubstr("tensor 'a': dtype, shape or data_offsets is missing"));
}

TEST(ParseSafetensors, KeysThatStandTwice) {
  const std::string body = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(error_of(R"({"a":)" + body + R"(,"a":)" + body + "}", 1).text,
              HasSubstr("'a' is listed twice"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1).text,
              HasSubstr("'dtype' is listed twice"));
  EXPECT_TRUE(
      parse(file_of(R"({"a":)" + body + R"(,"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2)).ok())
      << "different tensors have the same fields";
}

TEST(ParseSafetensors, EntriesThatAreNotWhatTheyShouldBe) {
  for (const char* header :
       {R"({"a":1})", R"({"a":[]})", R"({"a":{}})", R"({"a":{"dtype":"U8","shape":[1]}})",
        R"({"a":{"dtype":"U8","data_offsets":[0,1]}})"}) {
    EXPECT_THAT(error_of(header, 1).text, HasSubstr("tensor 'a': dtype, shape or data_offsets is missing"))
        << header;
  }
  EXPECT_THAT(error_of(tensor_a("7", "[1]", "[0,1]"), 1).text, HasSubstr("dtype is not a string"));
  const Error unknown = error_of(tensor_a(R"("F4")", "[1]", "[0,1]"), 1);
  EXPECT_EQ(unknown.code, Errc::kUnsupported);
  EXPECT_THAT(unknown.text, HasSubstr("unknown dtype 'F4'"));
}

TEST(ParseSafetensors, WrongShapes) {
  for (const char* shape : {"3", "{}", "[1,1,1,1,1,1,1,1,1]"}) {
    EXPECT_THAT(error_of(tensor_a(R"("U8")", shape, "[0,1]"), 1).text, HasSubstr("shape is not a list"))
        << shape;
  }
  for (const char* shape :
       {"[-1]", "[1.0]", "[\"1\"]", "[null]", "[18446744073709551615]", "[1e3]", "[true]"}) {
    EXPECT_THAT(error_of(tensor_a(R"("U8")", shape, "[0,1]"), 1).text,
                HasSubstr("not a non-negative integer"))
        << shape;
  }
}

TEST(ParseSafetensors, SizesThatOverflow) {
  for (const char* shape : {"[4611686018427387904,8]", "[4611686018427387904,2,2]", "[4294967296,4294967296]",
                            "[4611686018427387904,2,0]", "[9223372036854775807,9223372036854775807,0]"}) {
    EXPECT_THAT(error_of(tensor_a(R"("F32")", shape, "[0,0]")).text, HasSubstr("the sizes overflow"))
        << shape;
    EXPECT_THAT(error_of(tensor_a(R"("U8")", shape, "[0,0]")).text, HasSubstr("the sizes overflow")) << shape;
  }
}

TEST(ParseSafetensors, WrongOffsets) {
  for (const char* offsets : {"4", "[0]", "[0,4,8]", "[-4,0]", "[0.0,4.0]", "[\"0\",\"4\"]", "{}"}) {
    EXPECT_THAT(error_of(tensor_a(R"("F32")", "[1]", offsets), 4).text, HasSubstr("not a pair of offsets"))
        << offsets;
  }
  EXPECT_THAT(error_of(tensor_a(R"("F32")", "[1]", "[4,0]"), 4).text, HasSubstr("out of order"));
  EXPECT_THAT(error_of(tensor_a(R"("F32")", "[1]", "[0,18446744073709551615]"), 4).text,
              HasSubstr("out of order"));
  EXPECT_THAT(error_of(tensor_a(R"("F32")", "[2]", "[0,8]"), 4).text, HasSubstr("its data ends at byte"));
  EXPECT_THAT(error_of(tensor_a(R"("F32")", "[2]", "[0,4]"), 4).text,
              HasSubstr("dtype and shape ask for 8 bytes, data_offsets give 4"));
}

TEST(ParseSafetensors, DataCoveredTwiceOrNotAtAll) {
  const auto two = [](std::string_view first, std::string_view second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + std::string(first) +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + std::string(second) + "}}";
  };
  EXPECT_TRUE(parse(file_of(two("[0,4]", "[4,8]"), 8)).ok());
  EXPECT_THAT(error_of(two("[0,4]", "[3,7]"), 7).text, HasSubstr("tensor 'b' overlaps the one before it"));
  EXPECT_THAT(error_of(two("[0,4]", "[0,4]"), 4).text, HasSubstr("overlaps"));
  EXPECT_THAT(error_of(two("[0,4]", "[5,9]"), 9).text, HasSubstr("a hole before tensor 'b'"));
  EXPECT_THAT(error_of(two("[1,5]", "[5,9]"), 9).text, HasSubstr("a hole before tensor 'a'"));
  EXPECT_THAT(error_of(two("[0,4]", "[4,8]"), 11).text,
              HasSubstr("3 bytes after the last tensor belong to none"));
}

TEST(ParseSafetensors, MetadataMustBeStrings) {
  EXPECT_THAT(error_of(R"({"__metadata__":[]})").text, HasSubstr("__metadata__ is not an object"));
  EXPECT_THAT(error_of(R"({"__metadata__":{"n":1}})").text, HasSubstr("entry 'n' is not a string"));
}

}  // namespace
}  // namespace pinion
