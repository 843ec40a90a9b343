// Calibrations and calibrated frames that were written once must decode for ever, up to the rounding of one
// machine's arithmetic.
//
// PINION_UPDATE_GOLDEN=1 build/release/tests/golden/golden_calibrated_test rewrites them, and the fuzzer's
// corpus. Only a new format version, or one that no release has written yet, is a reason to do so.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "pinion/base/file_io.h"
#include "pinion/base/safetensors.h"
#include "pinion/codec/calibrated/calibrated_format.h"
#include "tests/golden/calibrated_streams.h"

namespace pinion::codec {
namespace {

const std::filesystem::path kTests = std::filesystem::path(PINION_SOURCE_DIR) / "tests";
constexpr std::size_t kMaxFileBytes = 1 << 20;

struct Golden {
  std::string name;  // of its folder
  testing::SyntheticForm form;

  std::filesystem::path file(const std::string& file) const { return kTests / "golden" / name / file; }
  std::filesystem::path frame_file(std::size_t i) const { return file("frame" + std::to_string(i) + ".bin"); }
};

TensorList decode_all(ByteSpan asset, const std::vector<Bytes>& frames,
                      const std::vector<testing::SyntheticStream::Step>& steps) {
  CalibratedDecoder decoder(parse_calibration(asset).value());
  TensorList decoded;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    decoded.push_back(
        {std::to_string(i), decoder.decode(frames[i], steps[i].context(), testing::kGenerous).value()});
  }
  return decoded;
}

// What decoders in other languages need besides the files: the latents of each step.
TensorList latents_of(const std::vector<testing::SyntheticStream::Step>& steps) {
  TensorList latents;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::int64_t rows = steps[i].tensor.shape()[0];
    const auto values = static_cast<std::int64_t>(steps[i].latents.size());
    latents.push_back(
        {std::to_string(i), testing::tensor_of(DType::kF32, {rows, values / rows}, steps[i].latents)});
  }
  return latents;
}

void update(const Golden& which) {
  const auto golden = testing::golden_calibrated(which.form);
  std::filesystem::create_directories(which.file("."));
  const auto write_seed = [&](const std::string& seed, char kind, ByteSpan content) {
    Bytes bytes = {std::byte(kind)};
    bytes.insert(bytes.end(), content.begin(), content.end());
    const std::string file = which.name + "_" + seed;
    ASSERT_TRUE(write_file(kTests / "fuzz/corpus/calibrated_frame_fuzz" / file, bytes).ok());
  };
  ASSERT_TRUE(write_file(which.file("asset.pnc"), golden.asset).ok());
  write_seed("asset", 'a', golden.asset);
  for (std::size_t i = 0; i < golden.frames.size(); ++i) {
    ASSERT_TRUE(write_file(which.frame_file(i), golden.frames[i]).ok());
    write_seed("frame" + std::to_string(i), 'f', golden.frames[i]);
  }
  ASSERT_TRUE(write_safetensors(which.file("decoded.safetensors"),
                                decode_all(golden.asset, golden.frames, golden.steps))
                  .ok());
  ASSERT_TRUE(write_safetensors(which.file("latents.safetensors"), latents_of(golden.steps)).ok());
}

class GoldenCalibrated : public ::testing::TestWithParam<Golden> {};

TEST_P(GoldenCalibrated, DecodesToWhatItDid) {
  const Golden& which = GetParam();
  if (std::getenv("PINION_UPDATE_GOLDEN") != nullptr) update(which);
  const auto steps = testing::golden_calibrated(which.form).steps;  // their latents
  const Bytes asset = read_file(which.file("asset.pnc"), kMaxFileBytes).value();
  std::vector<Bytes> frames;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    frames.push_back(read_file(which.frame_file(i), kMaxFileBytes).value());
  }
  // Which parts a stream is there for.
  for (const Bytes& frame : frames) {
    const auto body =
        parse_calibrated(parse_frame(frame, testing::kGenerous).value(), *parse_calibration(asset).value());
    EXPECT_EQ(body->low.has_value(), which.name == "calibrated_low");
  }
  const TensorList decoded = decode_all(asset, frames, steps);
  const auto kept = SafetensorsFile::open(which.file("decoded.safetensors")).value();
  for (const NamedTensor& entry : decoded) {
    const Tensor before = kept.tensor(entry.name).value();
    ASSERT_EQ(before.shape(), entry.tensor.shape());
    ASSERT_EQ(before.dtype(), entry.tensor.dtype());
    for (std::int64_t i = 0; i < before.elements(); ++i) {
      const float a = load_as_float(before.view().data, before.dtype(), i);
      // Sums in another order differ in their last bits, and may then round to the next bf16 value.
      EXPECT_NEAR(a, load_as_float(entry.tensor.view().data, before.dtype(), i), std::abs(a) / 128 + 1e-5);
    }
  }
}

TEST_P(GoldenCalibrated, LatentsOfTheFileAreTheStreams) {
  const Golden& which = GetParam();
  const auto kept = SafetensorsFile::open(which.file("latents.safetensors")).value();
  for (const NamedTensor& entry : latents_of(testing::golden_calibrated(which.form).steps)) {
    const Tensor before = kept.tensor(entry.name).value();
    EXPECT_EQ(before.shape(), entry.tensor.shape());
    EXPECT_TRUE(std::ranges::equal(before.view().span(), entry.tensor.view().span())) << entry.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Streams, GoldenCalibrated,
                         ::testing::Values(Golden{"calibrated", testing::kGoldenBands},
                                           Golden{"calibrated_grid", testing::kGoldenGrid},
                                           Golden{"calibrated_low", testing::kGoldenLow},
                                           Golden{"calibrated_response", testing::kGoldenResponse}),
                         [](const auto& which) { return which.param.name; });

}  // namespace
}  // namespace pinion::codec
