// A stream whose frames or bases get lost, and bases that are kept from job to job.

#include <gtest/gtest.h>

#include "pinion/codec/codec.h"
#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

using testing::decode_next;
using testing::kGenerous;

constexpr testing::LowRank kForm = {.rows = 300, .channels = 64, .rank = 8, .seed = 21};

// The stream starts with an offered basis, so that there is one whatever the encoder would choose itself.
class Stream : public ::testing::Test {
 protected:
  Stream() { EXPECT_TRUE(encoder_->offer_basis(basis_).ok()); }

  EncodedFrame next() {
    auto encoded = encoder_->encode(sequence_.at(sent_++));
    EXPECT_TRUE(encoded.ok());
    return std::move(encoded).value();
  }

  Errc failure(Decoder& decoder, ByteSpan frame) {
    const auto decoded = decoder.decode(frame, kGenerous);
    EXPECT_FALSE(decoded.ok());
    if (decoded.ok()) return Errc::kInternal;
    EXPECT_FALSE(decoded.error().text.empty());
    return decoded.error().code;
  }

  void expect_close(const Result<Tensor>& decoded, const Tensor& original) {
    ASSERT_TRUE(decoded.ok()) << decoded.error().message();
    EXPECT_NEAR(testing::measure_again(original, *decoded).snr_db, kTarget, 0.6);
  }

  static constexpr double kTarget = 20;
  const Profile profile_ = {.mode = Mode::kFidelity, .target_snr_db = kTarget};
  const std::vector<Tensor> sequence_ = testing::low_rank_sequence(DType::kBF16, 6, kForm);
  const Bytes basis_ = testing::basis_of(kForm);
  std::unique_ptr<Encoder> encoder_ = testing::encoder_of(profile_);
  std::unique_ptr<Decoder> decoder_ = Decoder::create();
  std::size_t sent_ = 0;
};

TEST_F(Stream, SendsABasisOnceAndThenPredicts) {
  const EncodedFrame first = next();
  EXPECT_EQ(first.basis, basis_);
  EXPECT_TRUE(first.stats.key_frame);
  expect_close(decode_next(*decoder_, first), sequence_[0]);
  for (std::size_t i = 1; i < sequence_.size(); ++i) {
    const EncodedFrame frame = next();
    EXPECT_FALSE(frame.stats.key_frame);
    EXPECT_TRUE(frame.basis.empty());
    expect_close(decode_next(*decoder_, frame), sequence_[i]);
  }
}

TEST_F(Stream, ALostFrameIsNoticedUntilARestart) {
  expect_close(decode_next(*decoder_, next()), sequence_[0]);
  const EncodedFrame lost = next(), after = next();
  EXPECT_EQ(failure(*decoder_, after.frame), Errc::kNotFound);
  // The decoder's state is as it was, so the lost frame may still come.
  expect_close(decode_next(*decoder_, lost), sequence_[1]);
  expect_close(decode_next(*decoder_, after), sequence_[2]);
  // Nor is a frame taken twice.
  EXPECT_EQ(failure(*decoder_, after.frame), Errc::kNotFound);

  const EncodedFrame lost_again = next();
  encoder_->restart();
  const EncodedFrame key = next();
  EXPECT_TRUE(key.stats.key_frame);
  EXPECT_TRUE(inspect(key.frame, kGenerous)->key_frame);
  expect_close(decode_next(*decoder_, key), sequence_[4]);
  EXPECT_EQ(failure(*decoder_, lost_again.frame), Errc::kNotFound);
}

TEST_F(Stream, ARestartServesADecoderThatKnowsNothing) {
  next();
  next();
  encoder_->restart();
  const EncodedFrame key = next(), after = next();
  const auto fresh = Decoder::create();
  expect_close(decode_next(*fresh, key), sequence_[2]);
  expect_close(decode_next(*fresh, after), sequence_[3]);
}

TEST_F(Stream, AMissingOrWrongBasisIsNotFound) {
  const EncodedFrame first = next();
  ASSERT_FALSE(first.basis.empty());
  EXPECT_EQ(failure(*decoder_, first.frame), Errc::kNotFound);
  const Bytes other = testing::basis_of({.channels = 64, .rank = 8, .seed = 22});
  ASSERT_NE(basis_hash(other), basis_hash(first.basis));
  ASSERT_TRUE(decoder_->add_basis(other, testing::kGenerousBasis).ok());
  EXPECT_EQ(failure(*decoder_, first.frame), Errc::kNotFound);
  ASSERT_TRUE(decoder_->add_basis(first.basis, testing::kGenerousBasis).ok());
  EXPECT_TRUE(decoder_->add_basis(first.basis, testing::kGenerousBasis).ok()) << "a second time";
  expect_close(decoder_->decode(first.frame, kGenerous), sequence_[0]);
}

TEST_F(Stream, ABasisThatTheOtherSideHoldsIsNotSent) {
  ASSERT_TRUE(decoder_->add_basis(basis_, testing::kGenerousBasis).ok());
  encoder_->assume_known_basis(basis_hash(basis_));
  const EncodedFrame frame = next();
  EXPECT_TRUE(frame.basis.empty());
  EXPECT_EQ(frame.stats.basis_bytes, 0u);
  EXPECT_EQ(inspect(frame.frame, kGenerous)->basis_hash, basis_hash(basis_));
  expect_close(decode_next(*decoder_, frame), sequence_[0]);
  encoder_->restart();
  EXPECT_TRUE(next().basis.empty()) << "after a restart the other side still holds it";
}

TEST_F(Stream, ARestartSendsTheBasisAgain) {
  EXPECT_EQ(next().basis, basis_);
  EXPECT_TRUE(next().basis.empty());
  encoder_->restart();
  EXPECT_EQ(next().basis, basis_);
}

TEST_F(Stream, AnOfferedBasisOfAnotherWidthDoesNoHarm) {
  ASSERT_TRUE(encoder_->offer_basis(testing::basis_of({.channels = 40, .rank = 8, .seed = 23})).ok());
  expect_close(decode_next(*decoder_, next()), sequence_[0]);
}

TEST_F(Stream, AnOfferedBasisThatFitsBadlyDoesNoHarm) {
  ASSERT_TRUE(encoder_->offer_basis(testing::basis_of({.channels = 64, .rank = 8, .seed = 23})).ok());
  for (std::size_t i = 0; i < 3; ++i) expect_close(decode_next(*decoder_, next()), sequence_[i]);
}

TEST_F(Stream, DamagedBasesAreRefused) {
  const Bytes basis = next().basis;
  ASSERT_FALSE(basis.empty());
  for (const std::size_t at : {std::size_t{0}, std::size_t{4}, basis.size() / 2, basis.size() - 1}) {
    Bytes damaged = basis;
    damaged[at] ^= std::byte{1};
    EXPECT_FALSE(decoder_->add_basis(damaged, testing::kGenerousBasis).ok()) << at;
    EXPECT_FALSE(encoder_->offer_basis(damaged).ok()) << at;
  }
  EXPECT_FALSE(decoder_->add_basis({}, testing::kGenerousBasis).ok());
  // A refused basis leaves the encoder as it was.
  EXPECT_FALSE(next().stats.key_frame);
}

TEST_F(Stream, ShapesMayChangeOnTheWay) {
  expect_close(decode_next(*decoder_, next()), sequence_[0]);
  for (const std::int64_t rows : {100, 301, 0, 1, 300}) {
    const auto tensor =
        rows == 0 ? Tensor::empty(DType::kBF16, {0, 64})
                  : testing::low_rank(DType::kF32, {.rows = rows, .channels = 64, .rank = 8, .seed = 21});
    const auto encoded = encoder_->encode(tensor);
    ASSERT_TRUE(encoded.ok());
    const auto decoded = decode_next(*decoder_, *encoded);
    ASSERT_TRUE(decoded.ok()) << decoded.error().message();
    EXPECT_EQ(decoded->shape(), tensor.shape());
    if (rows > 1) expect_close(decoded, tensor);
  }
  expect_close(decode_next(*decoder_, next()), sequence_[1]);
}

}  // namespace
}  // namespace pinion::codec
