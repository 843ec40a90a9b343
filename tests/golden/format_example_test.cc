// docs/format_example.md takes a few golden frames apart. Its blocks "```text NAME.INDEX" are what the
// reference decoder reads from frame INDEX of NAME.pnf, so that the document cannot drift from the code.
//
// PINION_UPDATE_GOLDEN=1 build/release/tests/golden/format_example_test rewrites the blocks.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "pinion/base/file_io.h"
#include "pinion/base/float_formats.h"
#include "pinion/codec/container.h"
#include "pinion/codec/reference/reference_decoder.h"

namespace pinion::codec {
namespace {

const std::filesystem::path kFrames = std::filesystem::path(PINION_SOURCE_DIR) / "tests/golden/frames";
const std::filesystem::path kDocument = std::filesystem::path(PINION_SOURCE_DIR) / "docs/format_example.md";
constexpr std::size_t kMaxFileBytes = 1 << 20;
constexpr std::size_t kBytesOfLine = 16;
constexpr std::size_t kLineWidth = 110;
constexpr std::string_view kOpening = "```text ";
constexpr std::string_view kClosing = "```\n";

std::string hex_of(ByteSpan bytes) {
  std::string text;
  for (const std::byte byte : bytes)
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", std::to_integer<int>(byte));
  return text;
}

std::string bits_of(ByteSpan bytes, std::size_t first, std::size_t count) {
  std::string text;
  for (std::size_t bit = first; bit < first + count; ++bit)
    text += std::to_integer<int>(bytes[bit / 8] >> (bit % 8)) & 1 ? '1' : '0';
  return text;
}

std::string hex_dump(ByteSpan bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += kBytesOfLine) {
    text +=
        fmt::format("{:04x}  {}\n", at, hex_of(bytes.subspan(at, std::min(kBytesOfLine, bytes.size() - at))));
  }
  return text;
}

// "title: text", wrapped, with nothing in the columns of offset and bytes.
std::string remark(std::string_view title, std::string_view text) {
  const std::string margin(32, ' ');
  std::string all, line = margin + std::string(title) + ":";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (line.size() + 1 + end - at > kLineWidth) {
      all += line + "\n";
      line = margin + " ";
    }
    line += " " + std::string(text.substr(at, end - at));
    at = end + 1;
  }
  return all + line + "\n";
}

// One line a field: where it begins (byte, and bit within it in a bit stream), its bytes or bits in their
// order, its name and value.
std::string field_table(ByteSpan frame, const ReferenceLog& log) {
  std::string text, operations, lane;
  const auto flush = [&] {
    if (!operations.empty()) text += remark("operations", operations);
    operations.clear();
    lane.clear();
  };
  bool in_bits = false;
  for (const ReferenceField& field : log) {
    if (field.name == "operations") {
      // "lane 0: symbol 5", and the lane only where it is another one.
      const std::string of = field.value.substr(0, field.value.find(": ") + 2);
      operations +=
          (operations.empty() ? "" : ", ") + (of == lane ? field.value.substr(of.size()) : field.value);
      lane = of;
      continue;
    }
    flush();
    if (field.bits == 0) {
      text += remark(field.name, field.value);
      continue;
    }
    // A stream of bits has fields that are no whole bytes, and goes on to the end of its last byte.
    in_bits = field.bit % 8 != 0 || field.bits % 8 != 0;
    const std::size_t byte = field.bit / 8;
    std::string where = std::to_string(byte), content;
    if (in_bits) {
      where += "." + std::to_string(field.bit % 8);
      content = bits_of(frame, field.bit, field.bits);
    } else if (field.bits / 8 <= 6) {
      content = hex_of(frame.subspan(byte, field.bits / 8));
    }
    text += fmt::format("{:<8}{:<23} {} = {}\n", where, content, field.name, field.value);
  }
  flush();
  return text;
}

// NAME.INDEX to the text of its block.
std::string block_of(const std::string& id) {
  const std::size_t dot = id.rfind('.');
  const Bytes file = read_file(kFrames / (id.substr(0, dot) + ".pnf"), kMaxFileBytes).value();
  const Container container = parse_container(file).value();
  const std::size_t wanted = std::stoul(id.substr(dot + 1));
  ReferenceDecoder decoder;
  for (std::size_t i = 0; i < wanted; ++i) {
    EXPECT_TRUE(decoder.decode(container.frames[i].frame, {.max_tensor_bytes = kMaxFileBytes}).ok());
  }
  const ByteSpan frame = container.frames[wanted].frame;
  ReferenceLog log;
  const auto decoded = decoder.decode(frame, {.max_tensor_bytes = kMaxFileBytes}, &log);
  EXPECT_TRUE(decoded.ok());
  std::string text = hex_dump(frame) + "\n" + field_table(frame, log);
  std::string values;
  for (std::int64_t i = 0; i < decoded->tensor.elements(); ++i) {
    values += fmt::format("{}{:.6g}", i == 0 ? "" : " ",
                          load_as_float(decoded->tensor.view().data, decoded->tensor.dtype(), i));
  }
  return text + remark("tensor", values);
}

// Calls visit(id, text) for each block, and gives the document with the texts replaced by what it returns.
template <class Visit>
std::string replace_blocks(const std::string& document, Visit visit) {
  std::string changed;
  std::size_t at = 0;
  for (std::size_t opening; (opening = document.find(kOpening, at)) != std::string::npos;) {
    const std::size_t begin = document.find('\n', opening) + 1;
    const std::size_t end = document.find(kClosing, begin);
    const std::string id = document.substr(opening + kOpening.size(), begin - 1 - opening - kOpening.size());
    changed += document.substr(at, begin - at) + visit(id, document.substr(begin, end - begin));
    at = end;
    changed += kClosing;
    at += kClosing.size();
  }
  return changed + document.substr(at);
}

TEST(FormatExample, BlocksOfTheDocumentAreWhatTheDecoderReads) {
  std::string document(as_text(read_file(kDocument, kMaxFileBytes).value()));
  if (std::getenv("PINION_UPDATE_GOLDEN") != nullptr) {
    document =
        replace_blocks(document, [](const std::string& id, const std::string&) { return block_of(id); });
    ASSERT_TRUE(write_file(kDocument, as_bytes(document)).ok());
  }
  std::size_t blocks = 0;
  replace_blocks(document, [&](const std::string& id, const std::string& text) {
    EXPECT_EQ(text, block_of(id)) << id;
    ++blocks;
    return text;
  });
  EXPECT_EQ(blocks, 4u);
}

}  // namespace
}  // namespace pinion::codec
