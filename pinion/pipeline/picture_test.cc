#include "pinion/pipeline/picture.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pinion/base/file_io.h"

namespace pinion::pipeline {
namespace {

Picture gradient(int width, int height) {
  Picture picture{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      picture.rgb.push_back(static_cast<std::uint8_t>(x * 7));
      picture.rgb.push_back(static_cast<std::uint8_t>(y * 5));
      picture.rgb.push_back(static_cast<std::uint8_t>((x ^ y) * 3));
    }
  }
  return picture;
}

std::filesystem::path scratch(const char* file) { return std::filesystem::path(testing::TempDir()) / file; }

TEST(Picture, SurvivesPngAndTensor) {
  const Picture picture = gradient(19, 11);
  ASSERT_TRUE(write_png(scratch("gradient.png"), picture, {{"prompt", "na\xc3\xafve"}}).ok());
  const auto back = read_png(scratch("gradient.png"));
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->rgb, picture.rgb);
  EXPECT_EQ(to_pictures(to_tensor(picture)).at(0).rgb, picture.rgb);
}

TEST(Picture, PngCarriesItsSettings) {
  ASSERT_TRUE(write_png(scratch("settings.png"), gradient(4, 4), {{"prompt", "a red circle"}}).ok());
  const auto bytes = read_file(scratch("settings.png"), 1 << 20);
  ASSERT_TRUE(bytes.ok());
  const std::string_view text = as_text(*bytes);
  EXPECT_NE(text.find("iTXt"), std::string_view::npos);
  EXPECT_NE(text.find("a red circle"), std::string_view::npos);
}

TEST(Picture, RefusesWhatIsNoPng) {
  ASSERT_TRUE(write_file(scratch("not.png"), as_bytes("not a png at all")).ok());
  const auto picture = read_png(scratch("not.png"));
  ASSERT_FALSE(picture.ok());
  EXPECT_EQ(picture.error().code, Errc::kBadFormat);
  EXPECT_EQ(read_png(scratch("missing.png")).error().code, Errc::kNotFound);
}

TEST(Picture, RefusesATruncatedPng) {
  ASSERT_TRUE(write_png(scratch("whole.png"), gradient(32, 32), {}).ok());
  const auto bytes = read_file(scratch("whole.png"), 1 << 20);
  ASSERT_TRUE(bytes.ok());
  for (std::size_t size = 0; size + 12 < bytes->size(); size += 37) {
    ASSERT_TRUE(write_file(scratch("cut.png"), ByteSpan(*bytes).first(size)).ok());
    EXPECT_FALSE(read_png(scratch("cut.png")).ok()) << size;
  }
}

TEST(Picture, ComparesBySquaredError) {
  const Picture a{2, 1, {10, 20, 30, 40, 50, 60}};
  Picture b = a;
  EXPECT_TRUE(std::isinf(compare(a, b).psnr_db));
  b.rgb[3] = 46;
  const PictureDifference difference = compare(a, b);
  EXPECT_EQ(difference.max_error, 6);
  EXPECT_NEAR(difference.psnr_db, 10 * std::log10(255.0 * 255.0 / (36.0 / 6)), 1e-9);
}

TEST(Picture, FitsReferencesIntoTheGrid) {
  const Picture cropped = fit_reference(gradient(50, 37), 16, 1 << 20);
  EXPECT_EQ(cropped.width, 48);
  EXPECT_EQ(cropped.height, 32);
  EXPECT_EQ(cropped.rgb[0], gradient(50, 37).rgb[(2 * 50 + 1) * 3]);  // the middle is kept
  const Picture scaled =
      fit_reference(Picture{400, 200, std::vector<std::uint8_t>(400 * 200 * 3, 77)}, 16, 100 * 100);
  EXPECT_LE(scaled.width * scaled.height, 100 * 100);
  EXPECT_EQ(scaled.width % 16, 0);
  for (const std::uint8_t value : scaled.rgb) EXPECT_EQ(value, 77);
}

TEST(Picture, RoundsAndClampsToEightBits) {
  const Tensor tensor = Tensor::from_floats(std::vector<float>{-2.0f, 0.0f, 2.0f}, {1, 3, 1, 1});
  EXPECT_EQ(to_pictures(tensor).at(0).rgb, (std::vector<std::uint8_t>{0, 128, 255}));
}

}  // namespace
}  // namespace pinion::pipeline
