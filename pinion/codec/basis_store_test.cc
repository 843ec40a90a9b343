// Bases kept between jobs.

#include "pinion/codec/basis_store.h"

#include <gmock/gmock.h>

#include <fstream>

#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

using testing::LowRank;
namespace fs = std::filesystem;

const BasisPlace kPlace{std::string(64, 'a'), 3, "image"};
const Profile kFidelity{.mode = Mode::kFidelity, .target_snr_db = 20};

class BasisStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / "pinion_basis_store" /
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
  }

  std::vector<fs::path> files() const {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      if (entry.is_regular_file()) paths.push_back(entry.path());
    }
    return paths;
  }

  fs::path folder_;
};

TEST_F(BasisStoreTest, KeepsTheLastTwoOfAPlace) {
  const BasisStore store(folder_);
  EXPECT_TRUE(store.load(kPlace).empty());
  std::vector<Bytes> bases;
  for (std::uint32_t seed = 1; seed <= 3; ++seed) {
    bases.push_back(testing::basis_of({.channels = 16, .rank = 3, .seed = seed}));
    store.keep(kPlace, bases.back(), AssetKind::kBasis);
    // File times may be coarser than this loop is long.
    const auto past = fs::file_time_type::clock::now() - std::chrono::seconds(10 * (4 - seed));
    for (const fs::path& path : files()) {
      if (path.stem() == basis_hash(bases.back())) fs::last_write_time(path, past);
    }
  }
  EXPECT_THAT(store.load(kPlace), ::testing::ElementsAre(bases[2], bases[1]));
  for (const BasisPlace& other :
       {BasisPlace{kPlace.model_hash, 4, "image"}, BasisPlace{kPlace.model_hash, 3, "text"},
        BasisPlace{std::string(64, 'b'), 3, "image"}}) {
    EXPECT_TRUE(store.load(other).empty());
  }
}

TEST_F(BasisStoreTest, PassesOverDamagedFiles) {
  const BasisStore store(folder_);
  store.keep(kPlace, testing::basis_of({.channels = 16, .rank = 3}), AssetKind::kBasis);
  ASSERT_EQ(files().size(), 1u);
  std::ofstream(files().front(), std::ios::app) << "x";
  EXPECT_TRUE(store.load(kPlace).empty());
}

TEST_F(BasisStoreTest, LosesNothingButItsMemoryWhereItCannotWrite) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "file") << "no folder";
  const Bytes basis = testing::basis_of({.channels = 16, .rank = 3});
  for (const BasisStore& store : {BasisStore(folder_ / "file"), BasisStore({})}) {
    store.keep(kPlace, basis, AssetKind::kBasis);
    EXPECT_TRUE(store.load(kPlace).empty());
    EXPECT_TRUE(create_encoder(kFidelity, store.load_all(kPlace), {}).ok());
  }
}

// What a job's frames and bases cost, with the receiver's bases of before.
struct JobCost {
  std::size_t frames = 0;
  std::size_t bases = 0;
};

JobCost run_job(const BasisStore& sender, const BasisStore& receiver, const std::vector<Tensor>& tensors) {
  std::vector<std::string> known;
  const auto decoder = Decoder::create();
  for (const Bytes& basis : receiver.load(kPlace)) {
    decoder->add_basis(basis, testing::kGenerousBasis).value();
    known.push_back(basis_hash(basis));
  }
  const auto encoder = create_encoder(kFidelity, sender.load_all(kPlace), known).value();
  JobCost cost;
  for (const Tensor& tensor : tensors) {
    const EncodedFrame encoded = encoder->encode(tensor).value();
    cost.frames += encoded.frame.size();
    cost.bases += encoded.basis.size();
    EXPECT_TRUE(testing::decode_next(*decoder, encoded).ok());
    if (encoded.basis.empty()) continue;
    sender.keep(kPlace, encoded.basis, encoded.basis_kind);
    receiver.keep(kPlace, encoded.basis, encoded.basis_kind);
  }
  return cost;
}

TEST_F(BasisStoreTest, OnlyTheFirstJobPaysForABasis) {
  const BasisStore sender(folder_ / "sender"), receiver(folder_ / "receiver");
  // Successive tensors of one sequence share their subspace, as the jobs of one model do.
  const LowRank form{.rows = 512, .channels = 256, .rank = 8};
  const std::vector<Tensor> tensors = testing::low_rank_sequence(DType::kF32, 4, form);
  const std::vector<Tensor> first(tensors.begin(), tensors.begin() + 2),
      second(tensors.begin() + 2, tensors.end());
  const JobCost learned = run_job(sender, receiver, first);
  EXPECT_GT(learned.bases, 0u);
  const JobCost known = run_job(sender, receiver, second);
  EXPECT_EQ(known.bases, 0u);
  // It was made from other tensors, so it may suit these a little less; what counts is that it is not paid
  // again.
  EXPECT_LT(known.frames, learned.frames * 103 / 100);
  // Another receiver has to be sent it, and is sent what is known to fit.
  const JobCost elsewhere = run_job(sender, BasisStore(folder_ / "other"), second);
  EXPECT_GT(elsewhere.bases, 0u);
  EXPECT_EQ(elsewhere.frames, known.frames);
}

}  // namespace
}  // namespace pinion::codec
