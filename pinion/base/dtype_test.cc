#include "pinion/base/dtype.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "pinion/base/device.h"
#include "pinion/base/error.h"

namespace pinion {
namespace {

TEST(DType, CodesAndNamesArePinned) {
  const struct {
    DType dtype;
    int code;
    const char* name;
    std::size_t size_bytes;
    bool is_float;
  } rows[] = {
      {DType::kF32, 0, "F32", 4, true},        {DType::kF16, 1, "F16", 2, true},
      {DType::kBF16, 2, "BF16", 2, true},      {DType::kF8E4M3, 3, "F8_E4M3", 1, true},
      {DType::kF8E5M2, 4, "F8_E5M2", 1, true}, {DType::kF64, 5, "F64", 8, true},
      {DType::kI64, 6, "I64", 8, false},       {DType::kI32, 7, "I32", 4, false},
      {DType::kI16, 8, "I16", 2, false},       {DType::kI8, 9, "I8", 1, false},
      {DType::kU8, 10, "U8", 1, false},        {DType::kBool, 11, "BOOL", 1, false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(static_cast<int>(row.dtype), row.code);
    EXPECT_EQ(name(row.dtype), row.name);
    EXPECT_EQ(size_bytes(row.dtype), row.size_bytes) << row.name;
    EXPECT_EQ(is_float(row.dtype), row.is_float) << row.name;
    EXPECT_EQ(dtype_from_name(row.name), row.dtype);
    EXPECT_EQ(dtype_from_code(static_cast<std::uint8_t>(row.code)), row.dtype);
  }
  for (int code = std::size(rows); code < 256; ++code) {
    EXPECT_FALSE(dtype_from_code(static_cast<std::uint8_t>(code))) << code;
  }
}

TEST(DType, FileNamesAreExact) {
  for (const char* text : {"", "f32", "BF16 ", "F8_E4M3FN", "F", "U16"})
    EXPECT_FALSE(dtype_from_name(text)) << text;
}

TEST(DType, AcceptsWhatPeopleType) {
  for (const char* text : {"fp32", "float32", "F32", "float"})
    EXPECT_EQ(dtype_from_user(text), DType::kF32) << text;
  for (const char* text : {"bf16", "BFloat16", "BF16"})
    EXPECT_EQ(dtype_from_user(text), DType::kBF16) << text;
  for (const char* text : {"fp16", "half", "Float16", "f16"})
    EXPECT_EQ(dtype_from_user(text), DType::kF16) << text;
  for (const char* text : {"fp8", "f8_e4m3", "float8_e4m3fn"})
    EXPECT_EQ(dtype_from_user(text), DType::kF8E4M3) << text;
  for (const char* text : {"f8_e5m2", "float8_e5m2"})
    EXPECT_EQ(dtype_from_user(text), DType::kF8E5M2) << text;
  for (const char* text : {"", "fp4", "bf", "int8", "fp32x"}) EXPECT_FALSE(dtype_from_user(text)) << text;
}

TEST(Device, NamesRoundTrip) {
  EXPECT_EQ(name(Device{}), "cpu");
  EXPECT_EQ(name(Device{Device::Kind::kCuda, 3}), "cuda:3");
  EXPECT_EQ(device_from_name("cpu"), Device{});
  EXPECT_EQ(device_from_name("cuda"), (Device{Device::Kind::kCuda, 0}));
  EXPECT_EQ(device_from_name("cuda:12"), (Device{Device::Kind::kCuda, 12}));
  for (const char* text :
       {"", "cpu:0", "CUDA", "cuda:", "cuda:-1", "cuda:1x", "cuda: 1", "cuda:99999999999", "gpu"}) {
    EXPECT_FALSE(device_from_name(text)) << text;
  }
}

TEST(Error, WireNamesAreUniqueAndRoundTrip) {
  std::set<std::string_view> seen;
  for (int code = 0; code <= static_cast<int>(Errc::kInternal); ++code) {
    const auto errc = static_cast<Errc>(code);
    EXPECT_TRUE(seen.insert(name(errc)).second) << name(errc);
    EXPECT_EQ(errc_from_name(name(errc)), errc);
  }
  EXPECT_EQ(errc_from_name("something newer"), Errc::kInternal);
}

TEST(Error, MessageIsOneLineWithItsHint) {
  const Error plain{Errc::kIo, "cannot open a.bin", ""};
  EXPECT_EQ(plain.message(), "cannot open a.bin");
  const Error hinted = Error{Errc::kIo, "cannot open a.bin", "check the path"}.in("model flux");
  EXPECT_EQ(hinted.message(), "model flux: cannot open a.bin (check the path)");
}

TEST(Error, OnlyTransientCodesAreRetryable) {
  for (const Errc code : {Errc::kConnectionLost, Errc::kTimeout, Errc::kBusy, Errc::kUnreachable}) {
    EXPECT_TRUE(is_retryable(code)) << name(code);
  }
  for (const Errc code : {Errc::kNotPaired, Errc::kModelMismatch, Errc::kOutOfMemory, Errc::kBadFormat}) {
    EXPECT_FALSE(is_retryable(code)) << name(code);
  }
}

}  // namespace
}  // namespace pinion
