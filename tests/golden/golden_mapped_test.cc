// Frames about what a map makes of the latents that were written once must decode for ever, to the same bits
// in float32 up to the rounding of one machine's arithmetic.
//
// PINION_UPDATE_GOLDEN=1 build/release/tests/golden/golden_mapped_test rewrites them, and seeds of the
// fuzzer. Only a new format version, or one that no release has written yet, is a reason to do so.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "pinion/base/file_io.h"
#include "pinion/base/safetensors.h"
#include "pinion/codec/container.h"
#include "pinion/codec/mapped/latent_map.h"
#include "tests/golden/golden_streams.h"

namespace pinion::codec {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(PINION_SOURCE_DIR) / "tests/golden/mapped";
const std::filesystem::path kCorpus =
    std::filesystem::path(PINION_SOURCE_DIR) / "tests/fuzz/corpus/codec_frame_fuzz";
constexpr std::size_t kMaxFileBytes = 1 << 20;
constexpr std::int64_t kRows = 60, kLatents = 4, kChannels = 10, kSteps = 3;

std::vector<float> normal(testing::Dice& dice, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(dice.normal());
  return values;
}

void update() {
  testing::Dice dice(61);
  Matrix map(kLatents, kChannels);
  map.values = normal(dice, kLatents * kChannels);
  const std::vector<float> own = normal(dice, kRows * kChannels);
  const auto encoder = testing::encoder_of({.mode = Mode::kFidelity, .target_snr_db = 18});
  const auto decoder = Decoder::create();
  Container container;
  std::vector<EncodedFrame> frames;
  TensorList all_latents, decoded;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const std::vector<float> latents = normal(dice, kRows * kLatents);
    Matrix state = map_latents(latents, map);
    for (std::size_t i = 0; i < own.size(); ++i) state.values[i] += 0.3f * own[i];
    const DType dtype = step == 1 ? DType::kBF16 : DType::kF32;
    frames.push_back(
        encoder->encode(testing::tensor_of(dtype, {kRows, kChannels}, state.values), latents).value());
    const EncodedFrame& frame = frames.back();
    if (!frame.basis.empty()) decoder->add_basis(frame.basis, testing::kGenerousBasis).value();
    const std::string name = std::to_string(step);
    all_latents.push_back({name, testing::tensor_of(DType::kF32, {kRows, kLatents}, latents)});
    decoded.push_back({name, decoder->decode(frame.frame, latents, testing::kGenerous).value()});
  }
  for (const EncodedFrame& frame : frames) {
    if (!frame.basis.empty()) container.bases.push_back(frame.basis);
    container.frames.push_back({.name = "x", .stream = 0, .frame = frame.frame});
  }
  // Seeds of the fuzzer, which has a map of its own.
  for (const EncodedFrame& inner : testing::fidelity_stream(DType::kF32, false).frames) {
    const ParsedFrame parsed = parse_frame(inner.frame, testing::kGenerous).value();
    const Bytes frame = write_mapped_frame(DType::kBF16, parsed.header.shape, {}, inner.frame);
    Bytes seed = {std::byte('m')};
    seed.insert(seed.end(), frame.begin(), frame.end());
    const std::string file = std::string("mapped_") + (parsed.header.previous ? "next" : "key");
    ASSERT_TRUE(write_file(kCorpus / file, seed).ok());
  }
  ASSERT_TRUE(write_file(kFolder / "stream.pnf", write_container(container)).ok());
  ASSERT_TRUE(write_safetensors(kFolder / "latents.safetensors", all_latents).ok());
  ASSERT_TRUE(write_safetensors(kFolder / "decoded.safetensors", decoded).ok());
}

TEST(GoldenMapped, DecodesToWhatItDid) {
  if (std::getenv("PINION_UPDATE_GOLDEN") != nullptr) update();
  const Bytes file = read_file(kFolder / "stream.pnf", kMaxFileBytes).value();
  const auto latents = SafetensorsFile::open(kFolder / "latents.safetensors").value();
  const auto kept = SafetensorsFile::open(kFolder / "decoded.safetensors").value();
  const Container container = parse_container(file).value();
  ASSERT_EQ(container.frames.size(), static_cast<std::size_t>(kSteps));
  const auto decoder = Decoder::create();
  for (const ByteSpan basis : container.bases)
    ASSERT_TRUE(decoder->add_basis(basis, testing::kGenerousBasis).ok());
  for (std::size_t i = 0; i < container.frames.size(); ++i) {
    const ByteSpan frame = container.frames[i].frame;
    const FrameInfo info = inspect(frame, testing::kGenerous).value();
    EXPECT_EQ(info.mode, Mode::kMapped);
    EXPECT_EQ(info.key_frame, i == 0);
    const std::vector<float> known = floats_of(latents.tensor(std::to_string(i)).value());
    const auto decoded = decoder->decode(frame, known, testing::kGenerous);
    ASSERT_TRUE(decoded.ok()) << decoded.error().message();
    const Tensor before = kept.tensor(std::to_string(i)).value();
    ASSERT_EQ(before.shape(), decoded->shape());
    ASSERT_EQ(before.dtype(), decoded->dtype());
    for (std::int64_t e = 0; e < before.elements(); ++e) {
      const float a = load_as_float(before.view().data, before.dtype(), e);
      // A sum in another order differs in its last bits, and may then round to the next bf16 value.
      const float one = before.dtype() == DType::kF32 ? 0 : std::abs(a) / 128;
      EXPECT_NEAR(a, load_as_float(decoded->view().data, before.dtype(), e), one + 1e-5);
    }
  }
}

}  // namespace
}  // namespace pinion::codec
