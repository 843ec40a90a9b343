// Mode 2 encoded on a device: every decoder takes the frames and has the encoder's integers, targets are met,
// and frames are about as small as the CPU's.

#include <gtest/gtest.h>

#include "pinion/codec/cuda/device_fidelity_codec.h"
#include "pinion/codec/cuda/device_testing.h"
#include "pinion/codec/reference/twin_decoders.h"

namespace pinion::codec {
namespace {

using testing::decode_there;
using testing::Dice;
using testing::kDeviceLimits;
using testing::kGenerous;
using testing::LowRank;
using testing::OnDevice;

constexpr double kNear = 0.3;  // dB
constexpr BasisLimits kBasisLimits = {.max_channels = 1 << 14, .max_coefficients = 1 << 22};

std::unique_ptr<DeviceFidelityEncoder> encoder_there(double target_snr_db, const Bytes& basis = {}) {
  auto encoder = DeviceFidelityEncoder::create(target_snr_db, kDeviceLimits, {.most_band_loss = 1}).value();
  EXPECT_TRUE(encoder->use_basis(basis).ok());
  return encoder;
}

struct Coded {
  DeviceFidelityFrame info;
  Bytes frame;
};

Result<Coded> encode_there(DeviceFidelityEncoder& encoder, const TensorView& tensor) {
  const OnDevice there(tensor);
  PINION_TRY(const DeviceFidelityFrame info, encoder.encode(there.view(), nullptr));
  PINION_TRY(const ByteSpan frame, encoder.copy_to_host(nullptr));
  return Coded{info, Bytes(frame.begin(), frame.end())};
}

// The decoders of the CPU, the reference and the device.
class AllDecoders {
 public:
  void add_basis(const Bytes& asset) {
    if (asset.empty()) return;
    EXPECT_EQ(twins_.add_basis(asset, kBasisLimits), "");
    EXPECT_TRUE(reference_.add_basis(asset, kBasisLimits).ok());
    EXPECT_TRUE(there_->add_basis(asset, kBasisLimits).ok());
  }

  // What the CPU makes of it, after all have taken it and agreed.
  Tensor decode(const Coded& coded) {
    EXPECT_EQ(twins_.decode(coded.frame, kGenerous), "");
    EXPECT_TRUE(twins_.accepted());
    const auto expected = reference_.decode(coded.frame, kGenerous);
    const auto decoded = decode_there(*there_, coded.frame, twins_.tensor().bytes());
    EXPECT_TRUE(decoded.ok()) << decoded.error().message();
    if (expected.ok() && decoded.ok()) {
      EXPECT_EQ(testing::TwinDecoders::compare_tensors(*decoded, *expected), "");
    }
    return twins_.tensor();
  }

  std::vector<std::int32_t> state() const {
    return twins_.state() == nullptr ? std::vector<std::int32_t>{} : twins_.state()->last.components;
  }

 private:
  testing::TwinDecoders twins_;
  ReferenceDecoder reference_;
  std::unique_ptr<DeviceDecoder> there_ = testing::device_decoder();
};

struct Rate {
  std::size_t bytes = 0;
  double worst_miss = 0, least_snr = std::numeric_limits<double>::infinity();  // dB
};

// All of a stream, checked. Encoders tell an SNR within `told` dB.
Rate run_stream(DeviceFidelityEncoder& encoder, const Bytes& basis, const std::vector<Tensor>& steps,
                double target, double told = 0.15) {
  AllDecoders decoders;
  decoders.add_basis(basis);
  Rate rate;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    SCOPED_TRACE("step " + std::to_string(i));
    const auto coded = encode_there(encoder, steps[i]);
    EXPECT_TRUE(coded.ok()) << coded.error().message();
    if (!coded.ok()) return rate;
    EXPECT_FALSE(coded->info.is_exact);
    EXPECT_EQ(coded->info.frame.key_frame, i == 0);
    const Tensor decoded = decoders.decode(*coded);
    const std::vector<std::int32_t> state = encoder.copy_state(nullptr).value();
    EXPECT_FALSE(state.empty());
    EXPECT_EQ(state, decoders.state());
    const double snr = testing::measure_again(steps[i], decoded).snr_db;
    EXPECT_NEAR(snr, coded->info.snr_db, told);
    rate.worst_miss = std::max(rate.worst_miss, std::abs(snr - target));
    rate.least_snr = std::min(rate.least_snr, snr);
    rate.bytes += coded->frame.size();
  }
  return rate;
}

TEST(DeviceFidelityEncoder, EveryDecoderTakesItsFrames) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const auto& [rows, channels] : {std::pair{300, 256}, {301, 97}, {1030, 40}, {64, 200}}) {
      const LowRank form = {.rows = rows,
                            .channels = channels,
                            .rank = static_cast<std::size_t>(channels) / 4,
                            .noise = 0.01,
                            .seed = 220};
      const std::vector<Tensor> steps = testing::low_rank_sequence(dtype, 9, form);
      for (const bool with_basis : {false, true}) {
        SCOPED_TRACE(std::string(name(dtype)) + " " + std::to_string(rows) + " x " +
                     std::to_string(channels) + (with_basis ? " in a basis" : ""));
        const Bytes basis = with_basis ? testing::basis_of(form) : Bytes{};
        const auto encoder = encoder_there(20, basis);
        EXPECT_LT(run_stream(*encoder, basis, steps, 20).worst_miss, kNear);
      }
    }
  }
}

// Fewer rows than a tile has, one channel, and more channels than a block can keep. So few values are coded
// that errors go in jumps, and frames may stay well above the target.
TEST(DeviceFidelityEncoder, ShapesOfAllProportionsAreCoded) {
  PINION_SKIP_WITHOUT_DEVICE();
  const LowRank forms[] = {
      {.rows = 40, .channels = 1500, .rank = 30, .noise = 0.01, .seed = 221},
      {.rows = 64, .channels = 1, .rank = 1, .noise = 0.01, .seed = 222},
      {.rows = 32, .channels = 16384, .rank = 16, .noise = 0.01, .seed = 223},
  };
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const LowRank& form : forms) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + std::to_string(form.rows) + " x " +
                   std::to_string(form.channels));
      const Bytes basis = testing::basis_of(form);
      const auto encoder = encoder_there(20, basis);
      const std::vector<Tensor> steps = testing::low_rank_sequence(dtype, 5, form);
      // What the error of a mean and those of its component's values have in common is not counted: over many
      // rows and components it comes to nothing, on an H200 to .64 dB in 32 rows and to 1.1 dB in a channel.
      const double told = form.rank == 1 ? 1.2 : 0.75;
      EXPECT_GT(run_stream(*encoder, basis, steps, 20, told).least_snr, 20 - kNear - told);
    }
  }
}

TEST(DeviceFidelityEncoder, MeetsTargetsInALearnedBasisAndCostsLittleMore) {
  PINION_SKIP_WITHOUT_DEVICE();
  const std::vector<Tensor> steps = testing::low_rank_sequence(
      DType::kBF16, 5,
      {.rows = 2048, .channels = 512, .rank = 48, .noise = 0.002, .kept = 0.8, .fall = 0.1, .seed = 31});
  for (const double target : {12, 20, 30}) {
    SCOPED_TRACE(target);
    const auto here = testing::encoder_of({.mode = Mode::kFidelity, .target_snr_db = target});
    std::size_t bytes_here = 0;
    Bytes basis;
    for (const Tensor& tensor : steps) {
      const EncodedFrame encoded = here->encode(tensor).value();
      if (basis.empty()) basis = encoded.basis;
      bytes_here += encoded.frame.size();
    }
    const auto encoder = encoder_there(target);
    const Bytes learned = encoder->learn_basis(OnDevice(steps[0]).view(), nullptr).value();
    ASSERT_FALSE(learned.empty());
    EXPECT_EQ(learned, basis);
    ASSERT_TRUE(encoder->use_basis(learned).ok());
    const Rate rate = run_stream(*encoder, learned, steps, target);
    EXPECT_LT(rate.worst_miss, kNear);
    const double share = static_cast<double>(rate.bytes) / static_cast<double>(bytes_here);
    EXPECT_LT(share, 1.05);
  }
}

TEST(DeviceFidelityEncoder, TheSameStreamGivesTheSameBytes) {
  PINION_SKIP_WITHOUT_DEVICE();
  const LowRank form = {.rows = 400, .channels = 160, .rank = 40, .seed = 5};
  const Bytes basis = testing::basis_of(form);
  const auto first = encoder_there(22, basis), second = encoder_there(22, basis);
  for (const Tensor& tensor : testing::low_rank_sequence(DType::kBF16, 6, form))
    EXPECT_EQ(encode_there(*first, tensor)->frame, encode_there(*second, tensor)->frame);
}

TEST(DeviceFidelityEncoder, WhatIsNotFiniteLeavesTheStreamAsItWas) {
  PINION_SKIP_WITHOUT_DEVICE();
  const LowRank form = {.rows = 200, .channels = 96, .rank = 24, .seed = 6};
  const std::vector<Tensor> steps = testing::low_rank_sequence(DType::kF32, 3, form);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const auto encoder = encoder_there(20), other = encoder_there(20);
    for (const Tensor& tensor : steps) {
      Tensor broken = Tensor::copy_of(tensor);
      std::memcpy(broken.mutable_data() + 4 * 1234, &bad, 4);
      const auto refused = encode_there(*encoder, broken);
      const auto expected =
          testing::encoder_of({.mode = Mode::kFidelity, .target_snr_db = 20})->encode(broken);
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.error().code, expected.error().code);
      EXPECT_EQ(refused.error().message(), expected.error().message());
      EXPECT_EQ(encode_there(*encoder, tensor)->frame, encode_there(*other, tensor)->frame);
    }
  }
}

TEST(DeviceFidelityEncoder, WhatCannotBeCodedIsExact) {
  PINION_SKIP_WITHOUT_DEVICE();
  const LowRank form = {.rows = 100, .channels = 64, .rank = 16, .seed = 7};
  const Bytes basis = testing::basis_of(form);
  Dice dice(3);
  std::vector<float> noise(100 * 64), one_row(64), alike(100 * 64);
  for (float& value : noise) value = static_cast<float>(dice.normal());
  for (float& value : one_row) value = static_cast<float>(dice.normal());
  for (std::size_t i = 0; i < alike.size(); ++i) alike[i] = one_row[i % 64];
  const std::vector<Tensor> tensors = {
      testing::tensor_of(DType::kBF16, {100, 64}, std::vector<float>(100 * 64)),
      testing::tensor_of(DType::kF16, {100, 64}, std::vector<float>(100 * 64, 3.25f)),
      testing::tensor_of(DType::kF32, {100, 64}, alike),
      testing::tensor_of(DType::kBF16, {1, 64}, one_row),
      testing::tensor_of(DType::kBF16, {100, 64}, noise),  // not in the span of the basis
      testing::tensor_of(DType::kBF16, {0, 64}, {}),
  };
  const std::vector<Tensor> steps = testing::low_rank_sequence(DType::kBF16, tensors.size(), form);
  const auto encoder = encoder_there(20, basis), other = encoder_there(20, basis);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    SCOPED_TRACE(i);
    const auto coded = encode_there(*encoder, tensors[i]);
    ASSERT_TRUE(coded.ok()) << coded.error().message();
    EXPECT_TRUE(coded->info.is_exact);
    const auto decoded = Decoder::create()->decode(coded->frame, kGenerous);
    ASSERT_TRUE(decoded.ok());
    EXPECT_TRUE(testing::same_tensor(*decoded, tensors[i]));
    // Other rows make room for another shape, and the next frame a key frame.
    const bool goes_on = rows_of(tensors[i].shape()) == 100 || tensors[i].elements() == 0;
    if (!goes_on) other->restart();
    EXPECT_EQ(encode_there(*encoder, steps[i])->frame, encode_there(*other, steps[i])->frame);
  }
}

TEST(DeviceFidelityEncoder, OutliersAreCoded) {
  PINION_SKIP_WITHOUT_DEVICE();
  const LowRank form = {.rows = 500, .channels = 80, .rank = 20, .seed = 8};
  for (const float size : {100.0f, 3e4f, 1e8f}) {
    for (const bool with_basis : {false, true}) {
      SCOPED_TRACE(std::to_string(size) + (with_basis ? " in a basis" : ""));
      const Bytes basis = with_basis ? testing::basis_of(form) : Bytes{};
      const auto encoder = encoder_there(20, basis);
      AllDecoders decoders;
      decoders.add_basis(basis);
      for (Tensor& tensor : testing::low_rank_sequence(DType::kBF16, 3, form)) {
        Tensor spiked = Tensor::copy_of(tensor);
        const std::uint16_t bits = float_to_bf16(size);
        std::memcpy(spiked.mutable_data() + 2 * (333 * 80 + 17), &bits, 2);
        const auto coded = encode_there(*encoder, spiked);
        ASSERT_TRUE(coded.ok()) << coded.error().message();
        const Tensor decoded = decoders.decode(*coded);
        // A few numbers have all the energy: errors go in jumps.
        EXPECT_GT(testing::measure_again(spiked, decoded).snr_db, 19);
      }
    }
  }
}

TEST(DeviceFidelityEncoder, TensorsMayLieAnywhere) {
  PINION_SKIP_WITHOUT_DEVICE();
  const LowRank form = {.rows = 200, .channels = 96, .rank = 24, .seed = 9};
  const Bytes basis = testing::basis_of(form);
  const Tensor tensor = testing::low_rank(DType::kBF16, form);
  const testing::Room room(tensor.bytes() + 2);
  cudaMemcpy(room.span().data() + 2, tensor.view().data, tensor.bytes(), cudaMemcpyHostToDevice);
  TensorView view = tensor;
  view.data = room.span().data() + 2;
  view.device = {Device::Kind::kCuda, 0};
  const auto encoder = encoder_there(20, basis);
  const DeviceFidelityFrame info = encoder->encode(view, nullptr).value();
  const ByteSpan frame = encoder->copy_to_host(nullptr).value();
  AllDecoders decoders;
  decoders.add_basis(basis);
  const Tensor decoded = decoders.decode({info, Bytes(frame.begin(), frame.end())});
  EXPECT_NEAR(testing::measure_again(tensor, decoded).snr_db, 20, kNear);
}

TEST(DeviceFidelityEncoder, RowsOfManySizesAreForTheCpu) {
  PINION_SKIP_WITHOUT_DEVICE();
  const LowRank form = {.rows = 512, .channels = 128, .rank = 32, .noise = 0, .seed = 10};
  const Tensor alike = testing::low_rank(DType::kF32, form);
  std::vector<float> values(512 * 128);
  Dice dice(4);
  for (std::size_t r = 0; r < 512; ++r) {
    const auto size = static_cast<float>(std::exp2(3 * dice.normal()));
    for (std::size_t c = 0; c < 128; ++c)
      values[r * 128 + c] =
          size * load_as_float(alike.view().data, DType::kF32, static_cast<std::int64_t>(r * 128 + c));
  }
  const Tensor uneven = testing::tensor_of(DType::kF32, {512, 128}, values);
  const auto encoder = DeviceFidelityEncoder::create(20, kDeviceLimits).value();
  const auto coded = encode_there(*encoder, alike);
  ASSERT_TRUE(coded.ok()) << coded.error().message();
  EXPECT_LT(coded->info.band_loss, 0.05);
  const auto refused = encode_there(*encoder, uneven);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kUnsupported);
  EXPECT_FALSE(encode_there(*encoder, alike)->info.frame.key_frame);
}

TEST(DeviceFidelityEncoder, RefusesWhatItCannotTake) {
  PINION_SKIP_WITHOUT_DEVICE();
  EXPECT_EQ(DeviceFidelityEncoder::create(0, kDeviceLimits).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(DeviceFidelityEncoder::create(101, kDeviceLimits).error().code, Errc::kInvalidArgument);
  const auto encoder = encoder_there(20, testing::basis_of({.channels = 64, .rank = 8}));
  EXPECT_EQ(encode_there(*encoder, testing::low_rank(DType::kF32, {.rows = 50, .channels = 65})).error().code,
            Errc::kInvalidArgument);
  EXPECT_EQ(encoder->encode(testing::low_rank(DType::kF32, {.channels = 64}), nullptr).error().code,
            Errc::kInvalidArgument);
  EXPECT_FALSE(encoder->use_basis(Bytes(40)).ok());
}

}  // namespace
}  // namespace pinion::codec
