#include "pinion/transport/identity.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>
#include <vector>

#include "pinion/transport/peer_store.h"

namespace pinion::transport {
namespace {

std::filesystem::path fresh_folder() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  const auto folder = std::filesystem::path(testing::TempDir()) / "pinion_identity" / test->name();
  std::filesystem::remove_all(folder);
  return folder;
}

unsigned mode_of(const std::filesystem::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 0777u : 0u;
}

TEST(Identity, IsMadeOnceAndKeptPrivate) {
  const auto folder = fresh_folder();
  const Result<Identity> first = Identity::load_or_create(folder);
  ASSERT_TRUE(first.ok()) << first.error().message();
  EXPECT_EQ(mode_of(folder), 0700u);
  EXPECT_EQ(mode_of(folder / "identity.pem"), 0600u);
  const Result<Identity> second = Identity::load_or_create(folder);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(first->fingerprint(), second->fingerprint());
  EXPECT_NE(first->fingerprint(), Identity::create()->fingerprint());
}

TEST(Identity, ManyAtOnceGetTheSame) {
  const auto folder = fresh_folder();
  std::vector<Fingerprint> fingerprints(8);
  std::vector<std::thread> threads;
  for (Fingerprint& fingerprint : fingerprints) {
    threads.emplace_back([&] { fingerprint = Identity::load_or_create(folder)->fingerprint(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Fingerprint& fingerprint : fingerprints) EXPECT_EQ(fingerprint, fingerprints[0]);
  // Nothing is left of the drafts.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST(Identity, ABrokenFileIsNamed) {
  const auto folder = fresh_folder();
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "identity.pem") << "not a key";
  const Result<Identity> identity = Identity::load_or_create(folder);
  ASSERT_FALSE(identity.ok());
  EXPECT_NE(identity.error().text.find("identity.pem"), std::string::npos);
}

TEST(PeerStore, RemembersAndForgets) {
  PeerStore store(fresh_folder());
  const Fingerprint a = sha256(as_bytes("a"));
  const Fingerprint b = sha256(as_bytes("b"));
  EXPECT_FALSE(store.is_paired_client(a));
  ASSERT_TRUE(store.add_client("laptop", a).ok());
  ASSERT_TRUE(store.add_client("laptop again", a).ok());
  ASSERT_TRUE(store.add_worker({"::1", 7777}, b).ok());
  EXPECT_TRUE(store.is_paired_client(a));
  EXPECT_FALSE(store.is_paired_client(b));
  ASSERT_EQ(store.clients()->size(), 1u);
  EXPECT_EQ(store.clients()->front().name, "laptop again");
  EXPECT_EQ(*store.remove("nobody"), 0);
  EXPECT_EQ(*store.remove("[::1]:7777"), 1);
  EXPECT_EQ(*store.remove(short_fingerprint(a)), 1);
  EXPECT_TRUE(store.workers()->empty());
  EXPECT_FALSE(store.is_paired_client(a));
}

TEST(PeerStore, ChecksAWorkersCertificate) {
  PeerStore store(fresh_folder());
  const Fingerprint a = sha256(as_bytes("a"));
  const Fingerprint b = sha256(as_bytes("b"));
  const Address home{"home", 7777};
  const auto code_of = [&](const Address& address, const Fingerprint& fingerprint) {
    const Result<void> checked = store.check_worker(address, fingerprint);
    return checked.ok() ? std::string("ok") : std::string(name(checked.error().code));
  };
  EXPECT_EQ(code_of(home, a), "not_paired");
  ASSERT_TRUE(store.add_worker(home, a).ok());
  ASSERT_TRUE(store.add_worker({"office", 7777}, b).ok());
  EXPECT_EQ(code_of(home, a), "ok");
  EXPECT_EQ(code_of(home, sha256(as_bytes("c"))), "certificate");
  EXPECT_EQ(code_of(home, b), "certificate");       // paired, but it is not this one's address
  EXPECT_EQ(code_of({"10.0.0.2", 7777}, a), "ok");  // the same worker by another name
  EXPECT_EQ(code_of({"10.0.0.2", 7777}, sha256(as_bytes("c"))), "not_paired");
  ASSERT_TRUE(store.add_worker(home, b).ok());  // paired anew
  EXPECT_EQ(code_of(home, b), "ok");
}

TEST(PeerStore, NoChangeIsLostWhenManyWrite) {
  const auto folder = fresh_folder();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const std::string who = "client " + std::to_string(i);
      EXPECT_TRUE(PeerStore(folder).add_client(who, sha256(as_bytes(who))).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(PeerStore(folder).clients()->size(), 8u);
}

TEST(PeerStore, ADamagedFileIsAnErrorAndNobodyIsPaired) {
  const auto folder = fresh_folder();
  std::filesystem::create_directories(folder);
  const Fingerprint a = sha256(as_bytes("a"));
  for (const char* text :
       {"", "[]", "{\"peers\": 3}", "{\"peers\": [7]}", "{\"peers\": [{\"fingerprint\": 1}]}"}) {
    std::ofstream(folder / "paired_clients.json", std::ios::trunc) << text;
    EXPECT_FALSE(PeerStore(folder).clients().ok()) << text;
    EXPECT_FALSE(PeerStore(folder).is_paired_client(a)) << text;
  }
}

}  // namespace
}  // namespace pinion::transport
