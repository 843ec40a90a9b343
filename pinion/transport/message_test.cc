#include "pinion/transport/message.h"

#include <gmock/gmock.h>

#include "pinion/transport/step_messages.h"

namespace pinion::transport {
namespace {

Message sample() {
  Message message;
  message.header["type"] = "step";
  message.header["id"] = 7;
  message.add(Blob::of(Bytes(3, std::byte{1})));
  message.add(Blob::of(Bytes{}));
  message.add(Blob::of(Bytes(2, std::byte{2})));
  return message;
}

// A message around header bytes that our own writer would not make.
Result<Message> parse_raw(std::vector<unsigned> header, std::size_t blob_bytes = 0) {
  ByteWriter writer;
  writer.write(static_cast<std::uint32_t>(header.size()));
  for (const unsigned byte : header) writer.write(static_cast<std::uint8_t>(byte));
  for (std::size_t i = 0; i < blob_bytes; ++i) writer.write(std::uint8_t{0});
  return parse_message(Blob::of(std::move(writer).take()));
}

std::string why(const Result<Message>& result) { return result.ok() ? "accepted" : result.error().text; }

TEST(Message, SurvivesARoundTrip) {
  const Result<Message> parsed = parse_message(Blob::of(serialize(sample())));
  ASSERT_TRUE(parsed.ok()) << parsed.error().text;
  EXPECT_EQ(parsed->type(), "step");
  EXPECT_EQ(parsed->header["id"], 7);
  EXPECT_FALSE(parsed->header.contains("blobs"));
  ASSERT_EQ(parsed->blobs.size(), 3u);
  EXPECT_EQ(parsed->blobs[0].bytes.size(), 3u);
  EXPECT_EQ(parsed->blobs[1].bytes.size(), 0u);
  EXPECT_EQ(parsed->blobs[2].bytes[1], std::byte{2});
}

TEST(Message, EveryTruncationIsAnError) {
  const Bytes whole = serialize(sample());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const Result<Message> parsed = parse_message(Blob::of(Bytes(whole.begin(), whole.begin() + length)));
    ASSERT_FALSE(parsed.ok()) << length;
    EXPECT_EQ(parsed.error().code, Errc::kProtocol);
  }
}

TEST(Message, BytesAfterTheLastBlobAreAnError) {
  Bytes bytes = serialize(sample());
  bytes.push_back(std::byte{0});
  EXPECT_THAT(why(parse_message(Blob::of(bytes))), testing::HasSubstr("after its last blob"));
  EXPECT_THAT(why(parse_raw({0xa0}, 1)), testing::HasSubstr("after its header"));
}

TEST(Message, HostileHeadersAreRefusedByTheirBounds) {
  EXPECT_THAT(why(parse_raw({})), testing::HasSubstr("0 bytes"));
  EXPECT_THAT(why(parse_raw({0x01})), testing::HasSubstr("not a map"));
  EXPECT_THAT(why(parse_raw({0xff})), testing::HasSubstr("not CBOR"));
  EXPECT_THAT(why(parse_raw({0xa1, 0x61, 'a', 0xc0, 0x01})), testing::HasSubstr("not CBOR"));  // a tag
  EXPECT_THAT(why(parse_raw({0xa1, 0x61, 'a', 0x41, 0x00})), testing::HasSubstr("byte string"));
  EXPECT_THAT(why(parse_raw({0xa2, 0x61, 'a', 0x01, 0x61, 'a', 0x02})), testing::HasSubstr("twice"));
  EXPECT_THAT(why(parse_raw({0xa0, 0x00})), testing::HasSubstr("not CBOR"));  // more than one value
  // A text and an array that claim 2^63 bytes or entries.
  EXPECT_THAT(why(parse_raw({0xa1, 0x61, 'a', 0x7b, 0x7f, 255, 255, 255, 255, 255, 255, 255})),
              testing::HasSubstr("not CBOR"));
  EXPECT_THAT(why(parse_raw({0xa1, 0x61, 'a', 0x9b, 0x7f, 255, 255, 255, 255, 255, 255, 255})),
              testing::HasSubstr("CBOR"));
}

TEST(Message, DepthAndCountAreBounded) {
  std::vector<unsigned> deep{0xa1, 0x61, 'a'};
  for (int i = 0; i < 40; ++i) deep.push_back(0x81);
  deep.push_back(0x00);
  EXPECT_THAT(why(parse_raw(deep)), testing::HasSubstr("nested too deeply"));

  std::vector<unsigned> wide{0xa1, 0x61, 'a', 0x99, 0x27, 0x10};  // 10000 numbers
  wide.insert(wide.end(), 10000, 0x00);
  EXPECT_THAT(why(parse_raw(wide)), testing::HasSubstr("too many values"));
}

TEST(Message, BlobLengthsMayNotLie) {
  const auto with_length = [](std::vector<unsigned> length) {
    std::vector<unsigned> header{0xa1, 0x65, 'b', 'l', 'o', 'b', 's', 0x81};
    header.insert(header.end(), length.begin(), length.end());
    return parse_raw(header, 4);
  };
  EXPECT_TRUE(with_length({0x04}).ok());
  EXPECT_FALSE(with_length({0x05}).ok());
  EXPECT_FALSE(with_length({0x03}).ok());
  EXPECT_FALSE(with_length({0x23}).ok());                                          // -4
  EXPECT_FALSE(with_length({0x1b, 255, 255, 255, 255, 255, 255, 255, 255}).ok());  // 2^64-1
  EXPECT_FALSE(with_length({0x61, 'x'}).ok());
}

TEST(Fields, StepSurvivesARoundTrip) {
  Step step;
  step.job = std::string(32, 'a');
  step.stage = 2;
  step.step = 5;
  step.attempt = 1;
  step.sigma = {0.5f, 0.25f};
  step.delta_sigma = -0.125f;
  step.latents.form = "predicted";
  step.latents.crc32c = 0xffffffffu;
  step.latents.delta = 0;
  StatePart& image = step.state.emplace_back();
  image.name = "image";
  image.frame = 1;
  image.basis = 2;
  TraceStream& stream = step.trace.emplace_back().streams.emplace_back();
  stream.name = "image";
  stream.snr_db = std::numeric_limits<double>::infinity();
  Message message = make_message(step);
  for (int i = 0; i < 3; ++i) message.add(Blob::of(Bytes(1)));
  const Result<Message> parsed = parse_message(Blob::of(serialize(message)));
  ASSERT_TRUE(parsed.ok()) << parsed.error().text;
  const Result<Step> read = read_header<Step>(*parsed);
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(read->sigma, step.sigma);
  EXPECT_EQ(read->delta_sigma, step.delta_sigma);
  EXPECT_EQ(read->latents.crc32c, 0xffffffffu);
  EXPECT_EQ(read->latents.delta, 0u);
  EXPECT_FALSE(read->latents.frame.has_value());
  EXPECT_EQ(read->state[0].basis, 2u);
  EXPECT_TRUE(std::isinf(read->trace[0].streams[0].snr_db));
}

TEST(Fields, NamesTheFieldThatIsWrong) {
  const auto broken = [](const char* key, Json value) {
    OpenStage open;
    open.model_hash = std::string(64, '0');
    open.end = 4;
    open.dtype = "F32";
    Message message = make_message(open);
    message.header[key] = std::move(value);
    const Result<OpenStage> read = read_header<OpenStage>(message);
    return read.ok() ? std::string("accepted") : read.error().text;
  };
  EXPECT_EQ(broken("begin", 3), "accepted");
  EXPECT_THAT(broken("begin", 5000), testing::HasSubstr("\"begin\" is 5000"));
  EXPECT_THAT(broken("begin", -1), testing::HasSubstr("\"begin\" is -1"));
  EXPECT_THAT(broken("begin", std::uint64_t{1} << 63), testing::HasSubstr("\"begin\""));
  EXPECT_THAT(broken("begin", 1.5), testing::HasSubstr("\"begin\" is not a whole number"));
  EXPECT_THAT(broken("begin", nullptr), testing::HasSubstr("\"begin\""));
  EXPECT_THAT(broken("model_hash", std::string(64, 'G')), testing::HasSubstr("hexadecimal"));
  EXPECT_THAT(broken("model_hash", "00"), testing::HasSubstr("\"model_hash\""));
  EXPECT_THAT(broken("dtype", ""), testing::HasSubstr("\"dtype\""));
}

TEST(Fields, KnownBasesMayBeLeftOutButNotBeWrong) {
  JobReady ready;
  EXPECT_FALSE(make_message(ready).header.contains("bases"));
  EXPECT_TRUE(read_header<JobReady>(make_message(ready))->bases.empty());
  ready.bases = {std::string(32, '0'), std::string(32, 'f')};
  EXPECT_EQ(read_header<JobReady>(make_message(ready))->bases, ready.bases);
  const auto accepts = [&](Json value) {
    Message message = make_message(ready);
    message.header["bases"] = std::move(value);
    return read_header<JobReady>(message).ok();
  };
  EXPECT_TRUE(accepts(Json::array()));
  EXPECT_FALSE(accepts("00"));
  EXPECT_FALSE(accepts({std::string(31, '0')}));
  EXPECT_FALSE(accepts({std::string(32, 'G')}));
  EXPECT_FALSE(accepts({7}));
  EXPECT_FALSE(accepts(std::vector<std::string>(65, std::string(32, '0'))));
}

TEST(Fields, ABlobIndexMustExist) {
  StepResult result;
  result.job = std::string(32, '0');
  Message message = make_message(result);
  EXPECT_FALSE(read_header<StepResult>(message).ok());
  message.add(Blob::of(Bytes(1)));
  EXPECT_TRUE(read_header<StepResult>(message).ok());
}

TEST(Fields, TextsOfErrorsAreMadePrintable) {
  const Error error{Errc::kBusy, "a\x1b[31mred\n", "h\x7f"};
  const Error back = ErrorMessage::of(error).to_error();
  EXPECT_EQ(back.code, Errc::kBusy);
  EXPECT_EQ(back.text, "a [31mred ");
  EXPECT_EQ(back.hint, "h ");
}

}  // namespace
}  // namespace pinion::transport
