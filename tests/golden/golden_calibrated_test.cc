// A calibration and two calibrated frames that were written once must decode for ever, up to the rounding of
// one machine's arithmetic.
//
// PINION_UPDATE_GOLDEN=1 build/release/tests/golden/golden_calibrated_test rewrites them, and the fuzzer's
// corpus. Only a new format version, or one that no release has written yet, is a reason to do so.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "pinion/base/file_io.h"
#include "pinion/base/safetensors.h"
#include "tests/golden/calibrated_streams.h"

namespace pinion::codec {
namespace {

const std::filesystem::path kTests = std::filesystem::path(PINION_SOURCE_DIR) / "tests";
const std::filesystem::path kFolder = kTests / "golden/calibrated";
constexpr std::size_t kMaxFileBytes = 1 << 20;

std::filesystem::path frame_file(std::size_t i) { return kFolder / ("frame" + std::to_string(i) + ".bin"); }

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

void update() {
  const auto golden = testing::golden_calibrated();
  const auto write_seed = [](const std::string& seed, char kind, ByteSpan content) {
    Bytes bytes = {std::byte(kind)};
    bytes.insert(bytes.end(), content.begin(), content.end());
    ASSERT_TRUE(write_file(kTests / "fuzz/corpus/calibrated_frame_fuzz" / seed, bytes).ok());
  };
  ASSERT_TRUE(write_file(kFolder / "asset.pnc", golden.asset).ok());
  write_seed("asset", 'a', golden.asset);
  for (std::size_t i = 0; i < golden.frames.size(); ++i) {
    ASSERT_TRUE(write_file(frame_file(i), golden.frames[i]).ok());
    write_seed("frame" + std::to_string(i), 'f', golden.frames[i]);
  }
  ASSERT_TRUE(write_safetensors(kFolder / "decoded.safetensors",
                                decode_all(golden.asset, golden.frames, golden.steps))
                  .ok());
  ASSERT_TRUE(write_safetensors(kFolder / "latents.safetensors", latents_of(golden.steps)).ok());
}

TEST(GoldenCalibrated, DecodesToWhatItDid) {
  if (std::getenv("PINION_UPDATE_GOLDEN") != nullptr) update();
  const auto steps = testing::golden_calibrated().steps;  // their latents
  const Bytes asset = read_file(kFolder / "asset.pnc", kMaxFileBytes).value();
  std::vector<Bytes> frames;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    frames.push_back(read_file(frame_file(i), kMaxFileBytes).value());
  }
  const TensorList decoded = decode_all(asset, frames, steps);
  const auto kept = SafetensorsFile::open(kFolder / "decoded.safetensors").value();
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

TEST(GoldenCalibrated, LatentsOfTheFileAreTheStreams) {
  const auto kept = SafetensorsFile::open(kFolder / "latents.safetensors").value();
  for (const NamedTensor& entry : latents_of(testing::golden_calibrated().steps)) {
    const Tensor before = kept.tensor(entry.name).value();
    EXPECT_EQ(before.shape(), entry.tensor.shape());
    EXPECT_TRUE(std::ranges::equal(before.view().span(), entry.tensor.view().span())) << entry.name;
  }
}

}  // namespace
}  // namespace pinion::codec
