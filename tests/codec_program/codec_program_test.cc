// `pinion codec` as a process: modes that need nothing but the tensors, and what is not finite.

#include <cmath>
#include <limits>

#include "pinion/codec/codec_testing.h"
#include "tests/codec_program/codec_program_testing.h"

namespace pinion::test {
namespace {

using codec::testing::same_tensor;
using codec::testing::tensor_of;
using ::testing::HasSubstr;

constexpr std::int64_t kRows = 24, kChannels = 16;

// Three steps of a stream that hardly changes, one odd tensor, integers.
TensorList some_tensors(DType dtype) {
  TensorList tensors;
  codec::testing::Dice dice(5);
  std::vector<float> values(kRows * kChannels);
  for (float& value : values) value = static_cast<float>(dice.normal());
  for (int step = 0; step < 3; ++step) {
    for (float& value : values) value += static_cast<float>(0.02 * dice.normal());
    tensors.push_back({"cut2.image.t" + std::to_string(step), tensor_of(dtype, {kRows, kChannels}, values)});
  }
  tensors.push_back({"bias", tensor_of(dtype, {kChannels}, {values.begin(), values.begin() + kChannels})});
  tensors.push_back({"ids", codec::testing::random_bits(DType::kI32, {7}, 3)});
  return tensors;
}

TEST_F(CodecProgram, GivesBackWhatItWasGiven) {
  const TensorList tensors = some_tensors(DType::kBF16);
  const std::string in = write("in.safetensors", tensors);
  for (const std::string mode : {"raw", "lossless"}) {
    for (const bool sequence : {false, true}) {
      std::vector<std::string> arguments{"encode", in, file("out.pnf"), "--mode", mode};
      if (sequence) arguments.emplace_back("--sequence");
      if (sequence && mode == "raw") continue;  // steps are alike to it
      expect_done(arguments);
      expect_done({"decode", file("out.pnf"), file("out.safetensors")});
      const TensorList decoded = read("out.safetensors");
      ASSERT_EQ(decoded.size(), tensors.size());
      for (const NamedTensor& entry : tensors) {
        ASSERT_NE(find(decoded, entry.name), nullptr) << entry.name;
        EXPECT_TRUE(same_tensor(*find(decoded, entry.name), entry.tensor)) << mode << " " << entry.name;
      }
    }
  }
}

TEST_F(CodecProgram, StepsOfASequencePredictFromEachOther) {
  const std::string in = write("in.safetensors", some_tensors(DType::kF32));
  const auto key_frames = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"encode", in, file("out.pnf"), "--mode", "bounded:.01", "--stream", "image"});
    expect_done(more);
    std::vector<bool> keys;
    const auto info = json_of({"info", file("out.pnf")});
    for (const auto& frame : info.at("frames")) keys.push_back(frame.at("key_frame"));
    return keys;
  };
  EXPECT_THAT(key_frames({"--sequence"}), ::testing::ElementsAre(true, false, false));
  EXPECT_THAT(key_frames({}), ::testing::ElementsAre(true, true, true));
}

TEST_F(CodecProgram, BenchReportsWhatArrives) {
  const TensorList tensors = some_tensors(DType::kF32);
  const std::string in = write("in.safetensors", tensors);
  for (const std::string mode : {"lossless", "bounded:.05", "int8", "fidelity:25"}) {
    expect_done({"encode", in, file("out.pnf"), "--sequence", "--mode", mode});
    expect_done({"decode", file("out.pnf"), file("out.safetensors")});
    const TensorList decoded = read("out.safetensors");
    const auto rows = json_of({"bench", in, "--sequence", "--mode", mode});
    ASSERT_EQ(rows.size(), tensors.size());
    for (const auto& row : rows) {
      const std::string name = row.at("tensor");
      SCOPED_TRACE(mode + " " + name);
      EXPECT_GE(row.at("encode_ms"), 0);
      EXPECT_GE(row.at("decode_ms"), 0);
      EXPECT_TRUE(row.at("output_snr_db").is_null());
      if (!name.starts_with("cut2") || mode == "lossless") continue;
      const auto measured = codec::testing::measure_again(*find(tensors, name), *find(decoded, name));
      EXPECT_NEAR(row.at("snr_db"), measured.snr_db, 1e-3);
      EXPECT_NEAR(row.at("cosine"), measured.cosine, 1e-6);
      EXPECT_GT(row.at("max_error"), 0);
    }
  }
}

TEST_F(CodecProgram, ThreadsChangeNoByte) {
  const std::string in = write("in.safetensors", some_tensors(DType::kF32));
  for (const std::string mode : {"lossless", "fidelity:25"}) {
    const auto encoded = [&](const std::string& threads) {
      expect_done({"encode", in, file("out.pnf"), "--sequence", "--mode", mode, "--threads", threads});
      expect_done({"decode", file("out.pnf"), file("out.safetensors"), "--threads", threads});
      return read_file(file("out.pnf"), 1 << 20).value();
    };
    EXPECT_EQ(encoded("1"), encoded("3"));
  }
  expect_failure({"bench", in, "--threads", "0"}, "--threads");
}

TEST_F(CodecProgram, SanitizeGivesNumbersToWhatIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  TensorList tensors = some_tensors(DType::kF32);
  std::vector<float> values(kRows * kChannels, 0.5f);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += static_cast<float>(i % 7);
  values[3] = nan, values[40] = inf, values[77] = -inf, values[78] = 65504;
  tensors.push_back({"wild", tensor_of(DType::kF16, {kRows, kChannels}, values)});
  const std::string in = write("in.safetensors", tensors);
  for (const std::string mode : {"fidelity:20", "int8", "int4"}) {
    expect_failure({"encode", in, file("out.pnf"), "--mode", mode}, "wild: the tensor holds NaN or infinity");
  }
  const auto wild = [&](const std::string& mode, bool sanitizes) {
    std::vector<std::string> arguments{"encode", in, file("out.pnf"), "--mode", mode};
    if (sanitizes) arguments.emplace_back("--sanitize");
    const ProcessResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out.find("not finite and changed: 3 elements") != std::string::npos, sanitizes)
        << result.out;
    expect_done({"decode", file("out.pnf"), file("out.safetensors")});
    return floats_of(*find(read("out.safetensors"), "wild"));
  };
  for (const std::string mode : {"lossless", "bounded:.01"}) {  // keep them unless told otherwise
    const std::vector<float> kept = wild(mode, false), finite = wild(mode, true);
    EXPECT_TRUE(std::isnan(kept[3])) << mode;
    EXPECT_EQ(kept[40], inf);
    EXPECT_EQ(kept[77], -inf);
    EXPECT_NEAR(finite[3], 0, 0.01);
    EXPECT_EQ(finite[40], 65504);
    EXPECT_EQ(finite[77], -65504);
    EXPECT_NEAR(finite[4], values[4], 0.01);
  }
  for (const std::string mode : {"fidelity:20", "int8"}) {
    for (const float value : wild(mode, true)) EXPECT_TRUE(std::isfinite(value)) << mode;
  }
  const auto rows = json_of({"bench", in, "--mode", "int8", "--sanitize"});
  std::int64_t changed = 0;
  for (const auto& row : rows) changed += row.at("made_finite").get<std::int64_t>();
  EXPECT_EQ(changed, 3);
  EXPECT_THAT(run({"bench", in, "--mode", "int8", "--mode", "int4", "--sanitize"}).out,
              HasSubstr("\nnot finite and changed: 3 elements"));
}

TEST_F(CodecProgram, TeachesByExamples) {
  for (const std::string command : {"encode", "decode", "info", "bench"}) {
    const ProcessResult help = run({command, "--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, HasSubstr("  pinion codec " + command + " "));
  }
  expect_failure({"bench", write("in.safetensors", some_tensors(DType::kF32)), "--mode", "jpeg"},
                 "unknown codec mode 'jpeg'");
}

}  // namespace
}  // namespace pinion::test
