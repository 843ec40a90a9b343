// Frames about what a map makes of the latents: what they save, what they keep, what decoders refuse.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "pinion/codec/basis_store.h"
#include "pinion/codec/codec_testing.h"
#include "pinion/codec/mapped/latent_map.h"
#include "pinion/codec/mapped/map_choice.h"
#include "pinion/codec/mapped/map_sums.h"
#include "pinion/codec/step_stream.h"

namespace pinion::codec {
namespace {

using testing::kGenerous;
using testing::kGenerousBasis;

constexpr std::size_t kRows = 300, kLatents = 12, kChannels = 48;
constexpr double kTarget = 24;
constexpr Profile kProfile = {.mode = Mode::kFidelity, .target_snr_db = kTarget};

// States that follow latents linearly, the same way in each job, but for a part of their own that stays from
// step to step, and a little that does not.
class Job {
 public:
  Job(std::uint32_t seed, DType dtype, double follows = 1) : dice_(seed), dtype_(dtype), follows_(follows) {
    testing::Dice model(7);
    for (float& value : map_.values) value = static_cast<float>(model.normal());
    own_ = normal(kRows * kChannels, 0.5);
    latents_ = normal(kRows * kLatents, 1);
    for (std::size_t c = 0; c < kChannels; ++c) means_.push_back(static_cast<float>(3 * model.normal()));
  }

  const std::vector<float>& latents() const { return latents_; }

  // The state of this step; then the sampler goes on.
  Tensor next() {
    Matrix values = map_latents(latents_, map_);
    const std::vector<float> noise = normal(values.values.size(), 0.05);
    for (std::size_t i = 0; i < noise.size(); ++i) {
      const float own = own_[i] + noise[i] + means_[i % kChannels];
      values.values[i] = static_cast<float>(follows_) * values.values[i] + own;
    }
    return testing::tensor_of(dtype_, {1, kRows, kChannels}, values.values);
  }
  void step() {
    const std::vector<float> change = normal(latents_.size(), 0.5);
    for (std::size_t i = 0; i < change.size(); ++i) latents_[i] = 0.8f * latents_[i] + change[i];
  }

 private:
  std::vector<float> normal(std::size_t count, double size) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(size * dice_.normal());
    return values;
  }

  testing::Dice dice_;
  DType dtype_;
  double follows_;
  Matrix map_{kLatents, kChannels};
  std::vector<float> own_, latents_, means_;
};

StepContext context_of(const Job& job) {
  return {.sigma = 1,
          .previous_sigma = {},
          .latents = job.latents(),
          .previous_latents = {},
          .output_rows = kRows,
          .grid = {}};
}

Mode mode_of(const EncodedFrame& encoded) { return inspect(encoded.frame, kGenerous)->mode; }

Result<Tensor> receive(Decoder& decoder, const EncodedFrame& encoded, std::span<const float> latents) {
  if (!encoded.basis.empty()) PINION_TRY_VOID(decoder.add_basis(encoded.basis, kGenerousBasis));
  return decoder.decode(encoded.frame, latents, kGenerous);
}

class Mapped : public ::testing::TestWithParam<DType> {};

TEST_P(Mapped, FramesTakeFewBitsAndKeepTheirTarget) {
  const auto with = testing::encoder_of(kProfile), without = testing::encoder_of(kProfile);
  const auto decoder = Decoder::create();
  Job job(1, GetParam());
  std::size_t bytes_with = 0, bytes_without = 0;
  for (int step = 0; step < 5; ++step) {
    const Tensor state = job.next();
    const auto encoded = with->encode(state, job.latents());
    ASSERT_TRUE(encoded.ok()) << encoded.error().message();
    EXPECT_EQ(mode_of(*encoded), Mode::kMapped);
    EXPECT_EQ(encoded->stats.key_frame, step == 0);
    EXPECT_EQ(encoded->basis_kind == AssetKind::kMap && !encoded->basis.empty(), step == 0);
    const Result<Tensor> decoded = receive(*decoder, *encoded, job.latents());
    ASSERT_TRUE(decoded.ok()) << decoded.error().message();
    EXPECT_EQ(decoded->dtype(), GetParam());
    const testing::Fidelity again = testing::measure_again(state, *decoded);
    EXPECT_NEAR(again.snr_db, encoded->stats.snr_db, 1e-3);
    EXPECT_NEAR(again.cosine, encoded->stats.cosine, 1e-5);
    EXPECT_NEAR(again.snr_db, kTarget, 0.3);
    bytes_with += encoded->frame.size();
    bytes_without += without->encode(state)->frame.size();
    job.step();
  }
  EXPECT_LT(static_cast<double>(bytes_with), 0.7 * static_cast<double>(bytes_without));
}

INSTANTIATE_TEST_SUITE_P(Types, Mapped, ::testing::Values(DType::kF32, DType::kF16, DType::kBF16),
                         [](const auto& type) { return std::string(name(type.param)); });

// The order of docs/format.md §14, for a receiver that was written from it.
TEST(Map, SumsLatentsInTheOrderOfTheFormat) {
  constexpr std::size_t kRun = 256;
  for (const std::size_t latents : {std::size_t{3}, kRun, 2 * kRun + 5}) {
    testing::Dice dice(9);
    Matrix map(latents, 37);
    for (float& value : map.values) value = static_cast<float>(dice.normal());
    std::vector<float> rows(11 * latents);
    for (float& value : rows) value = static_cast<float>(dice.normal());
    const Matrix mapped = map_latents(rows, map);
    for (std::size_t i = 0; i < mapped.values.size(); ++i) {
      const std::size_t r = i / map.columns, c = i % map.columns;
      float sum = 0;
      for (std::size_t first = 0; first < latents; first += kRun) {
        float run = 0;
        for (std::size_t l = first; l < std::min(first + kRun, latents); ++l)
          run = std::fma(rows[r * latents + l], map.row(l)[c], run);
        sum += run;
      }
      ASSERT_EQ(mapped.values[i], sum) << latents << " latents, element " << i;
    }
  }
}

TEST(MappedStream, NoMapWhereLatentsSayNothing) {
  const auto encoder = testing::encoder_of(kProfile);
  Job job(2, DType::kF32, 0);
  for (int step = 0; step < 3; ++step) {
    const auto encoded = encoder->encode(job.next(), job.latents());
    ASSERT_TRUE(encoded.ok());
    EXPECT_EQ(mode_of(*encoded), Mode::kFidelity);
    job.step();
  }
}

TEST(MappedStream, LatentsOfOtherRowsOrNotFiniteAreNotUsed) {
  const auto encoder = testing::encoder_of(kProfile);
  Job job(3, DType::kF32);
  std::vector<float> latents = job.latents();
  latents.pop_back();
  EXPECT_EQ(mode_of(encoder->encode(job.next(), latents).value()), Mode::kFidelity);
  latents = job.latents();
  latents[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(mode_of(encoder->encode(job.next(), latents).value()), Mode::kFidelity);
}

// Roundings of an asset are 1 at most, and its integers below 2^26.
TEST(MappedStream, HugeStatesHaveNoMap) {
  const auto encoder = testing::encoder_of(kProfile);
  const auto decoder = Decoder::create();
  Job job(10, DType::kF32);
  for (int step = 0; step < 2; ++step) {
    std::vector<float> values = floats_of(job.next());
    for (float& value : values) value *= 4e7f;
    const Tensor state = Tensor::from_floats(values, {1, kRows, kChannels});
    const auto encoded = encoder->encode(state, job.latents());
    ASSERT_TRUE(encoded.ok());
    EXPECT_EQ(mode_of(*encoded), Mode::kFidelity);
    const auto decoded = receive(*decoder, *encoded, job.latents());
    ASSERT_TRUE(decoded.ok()) << decoded.error().message();
    EXPECT_NEAR(testing::measure_again(state, *decoded).snr_db, kTarget, 0.3);
    job.step();
  }
}

TEST(MappedStream, ARestartServesADecoderThatKnowsNothing) {
  const auto encoder = testing::encoder_of(kProfile);
  Job job(4, DType::kBF16);
  ASSERT_TRUE(encoder->encode(job.next(), job.latents()).ok());
  job.step();
  const Tensor state = job.next();
  encoder->restart();
  const auto encoded = encoder->encode(state, job.latents());
  ASSERT_TRUE(encoded.ok());
  EXPECT_TRUE(encoded->stats.key_frame);
  const auto decoder = Decoder::create();
  const Result<Tensor> decoded = receive(*decoder, *encoded, job.latents());
  ASSERT_TRUE(decoded.ok()) << decoded.error().message();
  EXPECT_NEAR(testing::measure_again(state, *decoded).snr_db, kTarget, 0.3);
}

TEST(MappedStream, DecodersSayWhatIsMissing) {
  const auto encoder = testing::encoder_of(kProfile);
  Job job(5, DType::kF32);
  const auto first = encoder->encode(job.next(), job.latents());
  ASSERT_TRUE(first.ok());
  const auto decoder = Decoder::create();
  EXPECT_EQ(decoder->decode(first->frame, kGenerous).error().code, Errc::kUnsupported);
  EXPECT_EQ(decoder->decode(first->frame, job.latents(), kGenerous).error().code, Errc::kNotFound);
  ASSERT_TRUE(decoder->add_basis(first->basis, kGenerousBasis).ok());
  const std::span<const float> fewer = std::span(job.latents()).first(kLatents);
  EXPECT_EQ(decoder->decode(first->frame, fewer, kGenerous).error().code, Errc::kInvalidArgument);
  const std::vector<float> before = job.latents();
  job.step();
  const auto second = encoder->encode(job.next(), job.latents());
  ASSERT_TRUE(second.ok());
  // It predicts from the first, which was refused so far.
  EXPECT_EQ(decoder->decode(second->frame, job.latents(), kGenerous).error().code, Errc::kNotFound);
  EXPECT_TRUE(decoder->decode(first->frame, before, kGenerous).ok());
  EXPECT_TRUE(decoder->decode(second->frame, job.latents(), kGenerous).ok());
}

TEST(MappedStream, DamagedFramesAreRefused) {
  const auto encoder = testing::encoder_of(kProfile);
  Job job(6, DType::kBF16);
  const auto encoded = encoder->encode(job.next(), job.latents());
  ASSERT_TRUE(encoded.ok());
  const auto decoder = Decoder::create();
  ASSERT_TRUE(decoder->add_basis(encoded->basis, kGenerousBasis).ok());
  for (std::size_t size = 0; size < encoded->frame.size(); size += size < 200 ? 1 : 97) {
    EXPECT_FALSE(decoder->decode(ByteSpan(encoded->frame).first(size), job.latents(), kGenerous).ok());
  }
  // Whole frames of other kinds within.
  const ParsedFrame parsed = parse_frame(encoded->frame, kGenerous).value();
  const Tensor other = testing::filled(DType::kF32, parsed.header.shape, std::byte(0));
  for (const Profile& profile : {Profile{.mode = Mode::kRaw}, Profile{.mode = Mode::kInt8}}) {
    const Bytes inner = testing::encoder_of(profile)->encode(other)->frame;
    const Bytes frame = write_mapped_frame(DType::kBF16, parsed.header.shape, *parsed.header.basis, inner);
    EXPECT_EQ(decoder->decode(frame, job.latents(), kGenerous).error().code, Errc::kBadFormat);
  }
  const Bytes within =
      write_mapped_frame(DType::kBF16, {kRows, kChannels}, *parsed.header.basis, parsed.body);
  EXPECT_EQ(decoder->decode(within, job.latents(), kGenerous).error().code, Errc::kBadFormat);
  EXPECT_TRUE(decoder->decode(encoded->frame, job.latents(), kGenerous).ok());
}

// What is wrong with an inner frame is wrong with the body of its frame, and comes after map and latents.
TEST(MappedStream, ABrokenInnerFrameIsABadBody) {
  const auto encoder = testing::encoder_of(kProfile);
  Job job(8, DType::kBF16);
  const auto encoded = encoder->encode(job.next(), job.latents());
  ASSERT_TRUE(encoded.ok());
  const auto decoder = Decoder::create();
  ASSERT_TRUE(decoder->add_basis(encoded->basis, kGenerousBasis).ok());
  const ParsedFrame parsed = parse_frame(encoded->frame, kGenerous).value();
  const auto verdict = [&](ByteSpan inner, std::span<const float> latents) {
    const Bytes frame = write_mapped_frame(DType::kBF16, parsed.header.shape, *parsed.header.basis, inner);
    return decoder->decode(frame, latents, kGenerous).error().code;
  };
  for (std::size_t size = 0; size < parsed.body.size(); size += size < 100 ? 1 : 97) {
    EXPECT_EQ(verdict(parsed.body.first(size), job.latents()), Errc::kBadFormat) << size;
  }
  for (std::size_t at = 0; at < parsed.body.size(); at += at < 100 ? 1 : 97) {
    Bytes broken(parsed.body.begin(), parsed.body.end());
    broken[at] ^= std::byte(0x40);
    EXPECT_EQ(verdict(broken, job.latents()), Errc::kBadFormat) << at;
  }
  const std::span<const float> fewer = std::span(job.latents()).first(kLatents);
  EXPECT_EQ(verdict({}, fewer), Errc::kInvalidArgument);
}

TEST(MappedStream, OnlyReceiversThatAgreedToMapsTakeThem) {
  const auto encoder = testing::encoder_of(kProfile);
  Job job(9, DType::kF32);
  const auto encoded = encoder->encode(job.next(), job.latents());
  ASSERT_TRUE(encoded.ok());
  const StepContext context = context_of(job);
  for (const bool agreed : {false, true}) {
    StreamReceiver receiver(nullptr, agreed);
    ASSERT_TRUE(receiver.add_basis(encoded->basis, kGenerousBasis).ok());
    const auto decoded = receiver.decode(encoded->frame, context, kGenerous);
    EXPECT_EQ(decoded.ok() ? "ok" : name(decoded.error().code), agreed ? "ok" : "unsupported");
  }
}

class MapsFromJobToJob : public ::testing::Test {
 protected:
  ~MapsFromJobToJob() override { std::filesystem::remove_all(folder_); }

  // The first frame of a job.
  EncodedFrame begin_job(std::uint32_t seed, std::vector<std::string> known) {
    Job job(seed, DType::kF32);
    StreamSender sender = StreamSender::create({.profile = kProfile,
                                                .calibration = nullptr,
                                                .place = kPlace,
                                                .known_bases = std::move(known),
                                                .has_latent_rows = true},
                                               store_)
                              .value();
    return sender.encode(job.next(), context_of(job)).value();
  }

  const BasisPlace kPlace{"model", 3, "image"};
  const std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / ("maps_" + std::to_string(getpid()));
  BasisStore store_{folder_};
};

TEST_F(MapsFromJobToJob, OnlyTheFirstJobPays) {
  const EncodedFrame first = begin_job(1, {});
  ASSERT_EQ(first.basis_kind, AssetKind::kMap);
  ASSERT_FALSE(first.basis.empty());
  EXPECT_EQ(kind_of_asset(first.basis, first.frame, kGenerous), AssetKind::kMap);
  EXPECT_EQ(store_.load(kPlace, AssetKind::kMap), std::vector<Bytes>{first.basis});
  EXPECT_TRUE(store_.load(kPlace, AssetKind::kBasis).empty());
  const std::string hash = basis_hash(first.basis);
  // Later ones use it, until so many more rows were seen that a better one pays.
  std::vector<std::string> known = {hash};
  for (std::uint32_t job = 2; job <= 12; ++job) {
    const EncodedFrame frame = begin_job(job, known);
    if (!frame.basis.empty()) known.push_back(basis_hash(frame.basis));
    EXPECT_EQ(inspect(frame.frame, kGenerous)->basis_hash, known.back());
  }
  EXPECT_LE(known.size(), 4u);
  // A receiver that lost it is sent it again.
  EXPECT_FALSE(begin_job(13, {}).basis.empty());
}

// Few rows save less than the map of many takes.
TEST_F(MapsFromJobToJob, AKeptOneThatMustBeSentAgainHasToPay) {
  const Bytes map = begin_job(1, {}).basis;
  ASSERT_FALSE(map.empty());
  Job job(2, DType::kF32);
  const Tensor state = job.next();
  constexpr std::size_t kFew = 4;
  const std::vector<float> values = floats_of(state);
  const Tensor few = Tensor::from_floats(std::span(values).first(kFew * kChannels), {1, kFew, kChannels});
  for (const bool is_held : {true, false}) {
    MapChooser chooser;
    ASSERT_TRUE(chooser.offer(map).ok());
    ChunkPool alone;
    CentredTensor centred;
    centre(few, alone, centred).value();
    chooser.choose({.centred = centred,
                    .latents = std::span(job.latents()).first(kFew * kLatents),
                    .target_error = centred.energy / 250,
                    .current_is_held = is_held});
    EXPECT_EQ(chooser.current() != nullptr && chooser.current()->asset == map, is_held);
  }
}

TEST_F(MapsFromJobToJob, LessonsGrowWithEachJob) {
  for (std::uint32_t job = 1; job <= 3; ++job) {
    begin_job(job, {});
    const std::vector<Bytes> lessons = store_.load(kPlace, AssetKind::kLessons);
    ASSERT_FALSE(lessons.empty());
    EXPECT_NEAR(MapSums::read(lessons.front())->rows(), job * kRows, 0.01 * job * kRows);
  }
}

// A frame of states that follow latents by one map, these of some size.
void add_frame(MapSums& sums, testing::Dice& dice, double size) {
  Matrix latents(40, 2), states(40, 1);
  for (std::size_t r = 0; r < latents.rows; ++r) {
    for (float& value : latents.row(r)) value = static_cast<float>(size * dice.normal());
    states.row(r)[0] = latents.row(r)[0] - 2 * latents.row(r)[1];
    if (size != 1) states.row(r)[0] = static_cast<float>(dice.normal());  // they follow nothing
  }
  sums.add(latents, states);
}

void expect_map_of_frames(const MapSums& sums) {
  const Matrix map = sums.fit();
  ASSERT_FALSE(map.empty());
  EXPECT_NEAR(map.row(0)[0], 1, 0.01);
  EXPECT_NEAR(map.row(1)[0], -2, 0.01);
}

TEST(MapSums, AreAboutTheLastFrames) {
  testing::Dice dice(3);
  MapSums sums(2, 1);
  for (int i = 0; i < 3000; ++i) add_frame(sums, dice, 1);
  EXPECT_NEAR(sums.rows(), 256 * 40, 1);
  expect_map_of_frames(sums);
}

TEST(MapSums, OddFramesLeaveThemAsTheyAre) {
  testing::Dice dice(4);
  MapSums sums(2, 1);
  for (int i = 0; i < 20; ++i) add_frame(sums, dice, 1);
  for (const double size : {1e12, 1e-6, 1e25}) {
    add_frame(sums, dice, size);
    expect_map_of_frames(sums);
  }
  // Where the odd one came first.
  for (const double size : {1e12, 1e-6, 1e25}) {
    MapSums odd(2, 1);
    add_frame(odd, dice, size);
    for (int i = 0; i < 3; ++i) add_frame(odd, dice, 1);
    expect_map_of_frames(odd);
  }
}

TEST(MapSums, DamagedOnesAreRefused) {
  MapSums sums(2, 3);
  sums.add(Matrix(4, 2), Matrix(4, 3));
  const Bytes file = sums.write();
  ASSERT_TRUE(MapSums::read(file).ok());
  EXPECT_TRUE(sums.fit().empty());  // latents that do not vary
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(MapSums::read(ByteSpan(file).first(size)).ok());
  }
  for (std::size_t i = 0; i < file.size(); ++i) {
    Bytes broken = file;
    broken[i] ^= std::byte(16);
    EXPECT_FALSE(MapSums::read(broken).ok());
  }
}

}  // namespace
}  // namespace pinion::codec
