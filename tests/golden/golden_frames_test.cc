// Frames of this format version that were written once must decode for ever: to the same bits in the exact
// modes (decoded.sha256), and up to the rounding of one machine's arithmetic in fidelity (NAME.safetensors).
//
// PINION_UPDATE_GOLDEN=1 build/release/tests/golden/golden_frames_test rewrites them, and the fuzzer's
// corpus. Only a new format version, or one that no release has written yet, is a reason to do so.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "pinion/base/file_io.h"
#include "pinion/base/safetensors.h"
#include "pinion/base/sha256.h"
#include "pinion/codec/container.h"
#include "tests/golden/golden_streams.h"

namespace pinion::codec {
namespace {

using testing::GoldenStream;

const std::filesystem::path kFolder = std::filesystem::path(PINION_SOURCE_DIR) / "tests/golden/frames";
const std::filesystem::path kCorpus =
    std::filesystem::path(PINION_SOURCE_DIR) / "tests/fuzz/corpus/codec_frame_fuzz";
constexpr std::size_t kMaxFileBytes = 1 << 20;

Bytes container_of(const GoldenStream& stream) {
  Container container;
  for (const EncodedFrame& frame : stream.frames) {
    if (!frame.basis.empty()) container.bases.push_back(frame.basis);
    container.frames.push_back({.name = "x", .stream = 0, .frame = frame.frame});
  }
  return write_container(container);
}

std::vector<Tensor> decode_file(ByteSpan file) {
  const Container container = parse_container(file).value();
  const auto decoder = Decoder::create();
  for (const ByteSpan basis : container.bases) {
    EXPECT_TRUE(decoder->add_basis(basis, testing::kGenerousBasis).ok());
  }
  std::vector<Tensor> tensors;
  for (const ContainerFrame& frame : container.frames) {
    auto decoded = decoder->decode(frame.frame, testing::kGenerous);
    EXPECT_TRUE(decoded.ok()) << decoded.error().message();
    if (decoded.ok()) tensors.push_back(std::move(decoded).value());
  }
  return tensors;
}

// "NAME.INDEX TYPE SHAPE" to the digest of the bytes.
using Digests = std::map<std::string, std::string>;

void add_digests(const std::string& name_of_file, const std::vector<Tensor>& tensors, Digests& digests) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    digests[name_of_file + "." + std::to_string(i) + " " + std::string(name(tensor.dtype())) + " " +
            to_string(tensor.shape())] = to_hex(sha256(tensor.view().span()));
  }
}

std::string to_text(const Digests& digests) {
  std::string text;
  for (const auto& [what, digest] : digests) text += digest + "  " + what + "\n";
  return text;
}

bool is_exact(const std::string& name_of_file) { return !name_of_file.starts_with("fidelity"); }

// The first byte tells the fuzzer what the rest is: tests/fuzz/codec_frame_fuzz.cc.
void write_seed(const std::string& name_of_seed, char kind, ByteSpan content) {
  Bytes seed = {std::byte(kind)};
  seed.insert(seed.end(), content.begin(), content.end());
  ASSERT_TRUE(write_file(kCorpus / name_of_seed, seed).ok());
}

void update() {
  Digests digests;
  for (const GoldenStream& stream : testing::golden_streams()) {
    const Bytes file = container_of(stream);
    const std::vector<Tensor> tensors = decode_file(file);
    ASSERT_TRUE(write_file(kFolder / (stream.name + ".pnf"), file).ok());
    if (is_exact(stream.name)) {
      add_digests(stream.name, tensors, digests);
    } else {
      TensorList decoded;
      for (const Tensor& tensor : tensors) decoded.push_back({std::to_string(decoded.size()), tensor});
      ASSERT_TRUE(write_safetensors(kFolder / (stream.name + ".safetensors"), decoded).ok());
    }
    for (std::size_t i = 0; i < stream.frames.size(); ++i) {
      const std::string seed = stream.name + "." + std::to_string(i);
      write_seed(seed, 'f', stream.frames[i].frame);
      if (!stream.frames[i].basis.empty()) write_seed(seed + ".basis", 'b', stream.frames[i].basis);
    }
    if (stream.frames.size() > 1) write_seed(stream.name + ".file", 'c', file);
  }
  ASSERT_TRUE(write_file(kFolder / "decoded.sha256", as_bytes(to_text(digests))).ok());
}

std::vector<std::string> files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".pnf") names.push_back(entry.path().stem().string());
  }
  return names;
}

class GoldenFrames : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (std::getenv("PINION_UPDATE_GOLDEN") != nullptr) update();
  }
};

TEST_F(GoldenFrames, AreAllThere) {
  EXPECT_EQ(files().size(), testing::golden_streams().size());
  for (const GoldenStream& stream : testing::golden_streams())
    EXPECT_TRUE(std::filesystem::exists(kFolder / (stream.name + ".pnf"))) << stream.name;
}

TEST_F(GoldenFrames, ExactModesDecodeToTheSameBits) {
  Digests digests;
  for (const std::string& name_of_file : files()) {
    if (!is_exact(name_of_file)) continue;
    const Bytes file = read_file(kFolder / (name_of_file + ".pnf"), kMaxFileBytes).value();
    add_digests(name_of_file, decode_file(file), digests);
  }
  EXPECT_EQ(to_text(digests), as_text(read_file(kFolder / "decoded.sha256", kMaxFileBytes).value()));
}

TEST_F(GoldenFrames, FidelityDecodesToTheSameValues) {
  for (const std::string& name_of_file : files()) {
    if (is_exact(name_of_file)) continue;
    SCOPED_TRACE(name_of_file);
    const bool with_basis = name_of_file.starts_with("fidelity_basis");
    const Bytes file = read_file(kFolder / (name_of_file + ".pnf"), kMaxFileBytes).value();
    const std::vector<Tensor> decoded = decode_file(file);
    EXPECT_EQ(parse_container(file)->bases.empty(), !with_basis);
    const auto expected = SafetensorsFile::open(kFolder / (name_of_file + ".safetensors")).value();
    ASSERT_EQ(decoded.size(), expected.header().entries.size());
    for (std::size_t i = 0; i < decoded.size(); ++i) {
      const Tensor want = expected.tensor(std::to_string(i)).value();
      ASSERT_EQ(decoded[i].dtype(), want.dtype());
      ASSERT_EQ(decoded[i].shape(), want.shape());
      // Sums in another order differ in their last bits, and may then round to the type's next value.
      const double spacing = want.dtype() == DType::kBF16  ? 1.0 / 128
                             : want.dtype() == DType::kF16 ? 1.0 / 1024
                                                           : 1e-5;
      for (std::int64_t at = 0; at < want.elements(); ++at) {
        const double x = load_as_float(want.view().data, want.dtype(), at);
        ASSERT_NEAR(load_as_float(decoded[i].view().data, want.dtype(), at), x, spacing * std::abs(x) + 1e-5)
            << "frame " << i << ", element " << at;
      }
    }
  }
}

}  // namespace
}  // namespace pinion::codec
