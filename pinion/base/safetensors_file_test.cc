#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "pinion/base/float_formats.h"
#include "pinion/base/safetensors.h"

namespace pinion {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

class SafetensorsOnDisk : public testing::Test {
 protected:
  SafetensorsOnDisk() {
    std::string name = (fs::temp_directory_path() / "pinion-safetensors-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~SafetensorsOnDisk() override { fs::remove_all(folder_); }
  fs::path folder_;
};

std::vector<float> floats_of(const Result<Tensor>& tensor) {
  EXPECT_TRUE(tensor.ok());
  return pinion::floats_of(*tensor);
}

// Written by the Python package (safetensors.torch.save_file), one tensor a dtype.
TEST_F(SafetensorsOnDisk, ReadsWhatPythonWrote) {
  const auto file = SafetensorsFile::open(PINION_SOURCE_DIR "/tests/fixtures/base/from_python.safetensors");
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_EQ(file->header().entries.size(), 10u);
  EXPECT_THAT(file->header().metadata,
              UnorderedElementsAre(Pair("format", "pt"), Pair("title", "a \"quoted\" line\nand another")));
  EXPECT_EQ(floats_of(file->tensor("bf16")), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(file->tensor("bf16")->shape(), (Shape{2, 3}));
  EXPECT_EQ(floats_of(file->tensor("f16")), (std::vector<float>{0.5f, -2.0f}));
  EXPECT_EQ(floats_of(file->tensor("f32")), (std::vector<float>{3.25f}));
  EXPECT_EQ(file->tensor("f32")->shape(), Shape{});
  EXPECT_EQ(floats_of(file->tensor("f64")), (std::vector<float>{1e-9f}));
  EXPECT_EQ(floats_of(file->tensor("e4m3")), (std::vector<float>{1.0f, 448.0f}));
  EXPECT_EQ(floats_of(file->tensor("e5m2")), (std::vector<float>{1.5f}));
  EXPECT_EQ(file->tensor("empty")->shape(), (Shape{0, 4}));
  EXPECT_EQ(file->tensor("bool")->bytes(), 3u);
  EXPECT_EQ(file->tensor("naïve 名")->view().span()[0], std::byte{7});
  std::int64_t second = 0;
  std::memcpy(&second, file->tensor("i64")->view().data + 8, sizeof(second));
  EXPECT_EQ(second, std::int64_t{1} << 40);
}

TEST_F(SafetensorsOnDisk, WhatIsWrittenIsRead) {
  const float values[] = {1.5f, -2.0f, 0.0f, 1e30f, -0.0f, 7.0f};
  Tensor narrow = Tensor::empty(DType::kBF16, {3});
  from_float(values, 3, DType::kBF16, narrow.mutable_data());
  const TensorList tensors{{"zebra", Tensor::from_floats(values, {2, 3})},
                           {"odd.bytes", Tensor::copy_of({narrow.view().data, DType::kU8, {5}, Device{}})},
                           {"narrow", narrow},
                           {"none", Tensor::empty(DType::kF32, {0, 2})}};
  const fs::path path = folder_ / "made" / "x.safetensors";
  const auto written = write_safetensors(path, tensors, {{"prompt", "ein \"roter\" Würfel"}});
  ASSERT_TRUE(written.ok()) << written.error().message();
  const auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_EQ(file->header().metadata.at("prompt"), "ein \"roter\" Würfel");
  ASSERT_EQ(file->header().entries.size(), tensors.size());
  for (const NamedTensor& wanted : tensors) {
    const auto tensor = file->tensor(wanted.name);
    ASSERT_TRUE(tensor.ok());
    EXPECT_EQ(tensor->dtype(), wanted.tensor.dtype());
    EXPECT_EQ(tensor->shape(), wanted.tensor.shape());
    EXPECT_EQ(as_text(tensor->view().span()), as_text(wanted.tensor.view().span())) << wanted.name;
  }
  EXPECT_EQ(file->header().entries[0].begin % 8, 0u) << "the data starts aligned";
  EXPECT_EQ(std::distance(fs::directory_iterator(path.parent_path()), fs::directory_iterator()), 1);
}

TEST_F(SafetensorsOnDisk, RefusesNamesThatTheFormatCannotHold) {
  const Tensor one = Tensor::empty(DType::kU8, {1});
  for (const TensorList& tensors : {TensorList{{"a", one}, {"a", one}}, TensorList{{"__metadata__", one}}}) {
    const auto written = write_safetensors(folder_ / "x.safetensors", tensors);
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, Errc::kInvalidArgument);
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(SafetensorsOnDisk, MetadataThatIsNotUtf8IsStillWritten) {
  const fs::path path = folder_ / "x.safetensors";
  ASSERT_TRUE(write_safetensors(path, {}, {{"prompt", "caf\xe9"}}).ok());
  EXPECT_EQ(SafetensorsFile::open(path)->header().metadata.at("prompt"), "caf\xef\xbf\xbd");
}

TEST_F(SafetensorsOnDisk, TensorsOutliveTheFileObject) {
  const fs::path path = folder_ / "x.safetensors";
  const float values[] = {4.0f, 5.0f};
  ASSERT_TRUE(write_safetensors(path, {{"a", Tensor::from_floats(values, {2})}}).ok());
  Tensor kept;
  {
    auto file = SafetensorsFile::open(path);
    kept = file->tensor("a").value();
  }
  fs::remove(path);
  EXPECT_EQ(floats_of(kept), (std::vector<float>{4.0f, 5.0f}));
}

TEST_F(SafetensorsOnDisk, ErrorsNameTheFile) {
  const fs::path path = folder_ / "broken.safetensors";
  std::ofstream(path) << "this is no safetensors file";
  const auto broken = SafetensorsFile::open(path);
  ASSERT_FALSE(broken.ok());
  EXPECT_THAT(broken.error().text, HasSubstr(path.string()));
  EXPECT_EQ(SafetensorsFile::open(folder_ / "none").error().code, Errc::kNotFound);

  ASSERT_TRUE(write_safetensors(path, {}).ok());
  const auto missing = SafetensorsFile::open(path)->tensor("weight");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Errc::kNotFound);
  EXPECT_EQ(missing.error().text, path.string() + " has no tensor 'weight'");
}

TEST_F(SafetensorsOnDisk, WritingWhereNothingCanBeWritten) {
  std::ofstream(folder_ / "file") << "x";
  const auto written = write_safetensors(folder_ / "file" / "x.safetensors", {});
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, Errc::kIo);
  EXPECT_THAT(written.error().text, HasSubstr((folder_ / "file" / "x.safetensors").string()));
}

}  // namespace
}  // namespace pinion
