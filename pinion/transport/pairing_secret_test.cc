#include "pinion/transport/pairing_secret.h"

#include <gtest/gtest.h>

namespace pinion::transport {
namespace {

using std::chrono::minutes;

const PairingSecret::Time kStart = PairingSecret::Time() + std::chrono::hours(1);

TEST(PairingSecret, WorksOnceAndForTenMinutes) {
  PairingSecret secret;
  EXPECT_FALSE(secret.is_open(kStart));
  EXPECT_FALSE(secret.redeem("", kStart).ok());
  const std::string first = secret.renew(kStart);
  EXPECT_EQ(first.size(), 22u);
  EXPECT_TRUE(secret.redeem(first, kStart + minutes(9)).ok());
  EXPECT_FALSE(secret.redeem(first, kStart + minutes(9)).ok());

  const std::string second = secret.renew(kStart);
  EXPECT_NE(second, first);
  EXPECT_FALSE(secret.redeem(second, kStart + minutes(10)).ok());
}

TEST(PairingSecret, FiveWrongTriesCloseIt) {
  PairingSecret secret;
  const std::string right = secret.renew(kStart);
  const std::string wrong(22, '-');
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(secret.redeem(wrong, kStart).ok());
  EXPECT_TRUE(secret.is_open(kStart));
  EXPECT_FALSE(secret.redeem(wrong, kStart).ok());
  EXPECT_FALSE(secret.is_open(kStart));
  EXPECT_FALSE(secret.redeem(right, kStart).ok());
}

}  // namespace
}  // namespace pinion::transport
