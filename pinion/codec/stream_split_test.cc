#include "pinion/codec/stream_split.h"

#include <gmock/gmock.h>

#include <numeric>

#include "pinion/base/float_formats.h"

namespace pinion::codec {
namespace {

using ::testing::ElementsAre;

const StateStreams kStreams{.picture = "image", .picture_rows = 2, .reference_rows = 1};

Tensor counted(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from_floats(values, shape);
}

TEST(StateStreams, ReferencesAreApartInEveryBatchItemAndComeTogetherAgain) {
  const Tensor image = counted({2, 3, 2}), text = counted({2, 3, 2});
  const Result<TensorList> streams = kStreams.split({{"image", image}, {"text", text}});
  ASSERT_TRUE(streams.ok()) << streams.error().text;
  ASSERT_EQ(streams->size(), 3u);
  EXPECT_EQ(streams->at(0).name, "image");
  EXPECT_EQ(streams->at(1).name, kReferenceStream);
  EXPECT_EQ(streams->at(2).name, "text");
  EXPECT_THAT(floats_of(streams->at(0).tensor), ElementsAre(0, 1, 2, 3, 6, 7, 8, 9));
  EXPECT_THAT(floats_of(streams->at(1).tensor), ElementsAre(4, 5, 10, 11));
  EXPECT_EQ(streams->at(2).tensor.view().data, text.view().data);  // as it was
  const Result<TensorList> joined = kStreams.join(*streams);
  ASSERT_TRUE(joined.ok()) << joined.error().text;
  ASSERT_EQ(joined->size(), 2u);
  EXPECT_EQ(joined->at(0).tensor.shape(), image.shape());
  EXPECT_EQ(floats_of(joined->at(0).tensor), floats_of(image));
  EXPECT_EQ(joined->at(1).name, "text");
}

TEST(StateStreams, OnlyCalibratedJobsWithReferencesAreSplit) {
  const TensorList state{{"image", counted({1, 3, 2})}};
  EXPECT_EQ(kStreams.for_profile({.mode = Mode::kCalibrated}).split(state)->size(), 2u);
  EXPECT_EQ(kStreams.for_profile({.mode = Mode::kFidelity}).split(state)->size(), 1u);
  EXPECT_EQ((StateStreams{.picture = "image", .picture_rows = 3}).split(state)->size(), 1u);
}

TEST(StateStreams, RefusesOtherNumbersOfRows) {
  for (const Shape& shape : {Shape{1, 2, 2}, {1, 4, 2}, {3, 2}}) {
    const Result<TensorList> streams = kStreams.split({{"image", counted(shape)}});
    ASSERT_FALSE(streams.ok());
    EXPECT_EQ(streams.error().code, Errc::kInvalidArgument);
  }
  const auto joins = [](std::int64_t picture, std::int64_t references) {
    return kStreams.join({{"image", counted({1, picture, 2})}, {"reference", counted({1, references, 2})}})
        .ok();
  };
  EXPECT_TRUE(joins(2, 1));
  EXPECT_FALSE(joins(3, 1));
  EXPECT_FALSE(joins(2, 2));
}

}  // namespace
}  // namespace pinion::codec
