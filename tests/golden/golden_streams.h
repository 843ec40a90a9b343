#pragma once
// The small streams of which the golden files and the codec fuzzer's corpus are made. Pure functions.

#include <optional>
#include <string>
#include <vector>

#include "pinion/codec/codec_testing.h"
#include "pinion/codec/fidelity/fidelity_decoder.h"
#include "pinion/codec/reference/random_frames.h"

namespace pinion::codec::testing {

inline constexpr LowRank kGoldenForm = {.rows = 24, .channels = 16, .rank = 3, .seed = 41};
inline constexpr Profile kGoldenFidelity = {.mode = Mode::kFidelity, .target_snr_db = 16};

// A stream as it crosses a link. `frames[i].basis` is what has to be sent before frame i.
struct GoldenStream {
  std::string name;
  std::vector<EncodedFrame> frames;
};

inline GoldenStream encode_stream(std::string name, const Profile& profile,
                                  const std::vector<Tensor>& tensors, ByteSpan basis = {}) {
  const auto encoder = encoder_of(profile);
  if (!basis.empty()) encoder->offer_basis(basis).value();
  GoldenStream stream{std::move(name), {}};
  for (const Tensor& tensor : tensors) stream.frames.push_back(encoder->encode(tensor).value());
  return stream;
}

// Three frames, the second and third predicted, without a basis or with one.
inline GoldenStream fidelity_stream(DType dtype, bool with_basis) {
  const Bytes basis = with_basis ? basis_of(kGoldenForm) : Bytes();
  LowRank form = kGoldenForm;
  if (!with_basis) form.noise = 3;  // no basis pays where every direction is as strong as any other
  return encode_stream(std::string("fidelity_") + (with_basis ? "basis_" : "") + std::string(name(dtype)),
                       kGoldenFidelity, low_rank_sequence(dtype, 3, form), basis);
}

// The frames of docs/format_example.md: so small that a reader can follow every bit.
inline std::vector<GoldenStream> example_streams() {
  const LowRank form = {.rows = 4, .channels = 3, .rank = 1, .kept = 0.97, .seed = 45};
  Dice dice(47);
  std::vector<float> values(32);
  for (float& value : values) value = static_cast<float>((0.5 + dice.uniform()) * (dice.bits() & 1 ? 1 : -1));
  return {encode_stream("fidelity_example", kGoldenFidelity, low_rank_sequence(DType::kF32, 3, form)),
          encode_stream("lossless_example", {.mode = Mode::kLossless},
                        {tensor_of(DType::kBF16, {8, 4}, values)})};
}

// What the document allows and no encoder here would choose: escapes, bands, odd grids, every class.
inline GoldenStream odd_fidelity_stream() {
  GoldenStream stream{"fidelity_odd", {}};
  Dice dice(48);
  ChunkPool alone;
  IndexTables tables;
  std::optional<StreamState> state;
  for (int i = 0; i < 12; ++i) {
    EncodedFrame frame;
    frame.frame = any_fidelity_frame(dice, DType::kBF16, {10, 6}, nullptr, state ? &*state : nullptr);
    const ParsedFrame parsed = parse_frame(frame.frame, kGenerous).value();
    auto decoded = decode_fidelity(parsed, nullptr, state ? &*state : nullptr, tables, alone);
    if (!decoded.ok()) continue;  // its state would overflow
    state = std::move(decoded).value().state;
    stream.frames.push_back(std::move(frame));
  }
  return stream;
}

// For each type a key frame and two frames that predict, so that planes are coded by context too.
inline GoldenStream odd_lossless_stream() {
  GoldenStream stream{"lossless_odd", {}};
  Dice dice(49);
  const auto decoder = Decoder::create();
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    PreviousTensor previous;
    for (int step = 0; step < 3; ++step) {
      EncodedFrame frame;
      frame.frame = any_lossless_frame(dice, dtype, {9, 5}, step == 0 ? nullptr : &previous);
      previous = {decoder->decode(frame.frame, kGenerous).value(), frame_checksum(frame.frame)};
      stream.frames.push_back(std::move(frame));
    }
  }
  return stream;
}

inline std::vector<GoldenStream> golden_streams() {
  constexpr Profile kRaw = {.mode = Mode::kRaw}, kLossless = {.mode = Mode::kLossless};
  std::vector<GoldenStream> streams = example_streams();
  streams.push_back(odd_fidelity_stream());
  streams.push_back(odd_lossless_stream());
  for (const DType dtype : {DType::kF64, DType::kI16, DType::kBool}) {
    streams.push_back(
        encode_stream("raw_" + std::string(name(dtype)), kRaw, {random_bits(dtype, {2, 3, 5}, 42)}));
  }
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::vector<Tensor> tensors = {low_rank(dtype, {.rows = 30, .channels = 20, .rank = 3, .seed = 43}),
                                         filled(dtype, {7, 9}, std::byte{0x3c}),
                                         Tensor::empty(dtype, {0, 4})};
    streams.push_back(encode_stream("lossless_" + std::string(name(dtype)), kLossless, tensors));
    streams.push_back(fidelity_stream(dtype, false));
    streams.push_back(fidelity_stream(dtype, true));
  }
  // Predicted ones, as large as 32 lanes take, and the modes whose loss is the same everywhere.
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const LowRank form = {.rows = 48, .channels = 40, .rank = 3, .kept = 0.99, .seed = 46};
    std::vector<Tensor> tensors = low_rank_sequence(dtype, 3, form);
    for (const char* text : {"lossless", "bounded:.05", "bounded:rel:.002", "int8", "int4"}) {
      std::string title = std::string(text) + "_stream_" + std::string(name(dtype));
      std::replace(title.begin(), title.end(), ':', '_');
      std::replace(title.begin(), title.end(), '.', '_');
      streams.push_back(encode_stream(title, parse_profile(text).value(), tensors));
    }
  }
  for (const DType dtype : {DType::kF8E4M3, DType::kF8E5M2}) {
    Tensor tensor = random_bits(dtype, {40, 16}, 44);
    for (std::size_t i = 0; i < tensor.bytes(); ++i) tensor.mutable_data()[i] &= std::byte{0x9f};
    streams.push_back(encode_stream("lossless_" + std::string(name(dtype)), kLossless, {tensor}));
  }
  return streams;
}

}  // namespace pinion::codec::testing
