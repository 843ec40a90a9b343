// Speed of the codec on one core, on real states: as captured, and tiled to the rows of a large picture.
// memcpy of the same bytes is the yardstick. Bytes per second count the raw tensor.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstring>

#include "bench/state_streams.h"
#include "pinion/codec/codec.h"

namespace pinion::bench {
namespace {

constexpr int kTilesDown = 4;
constexpr int kTilesAcross = 4;

struct Case {
  std::string name;
  std::vector<Tensor> steps;
};

// The tensor beside and under itself. Every copy is rolled by its own number of rows, so that no two channels
// and no two rows are equal.
Tensor tiled(const Tensor& tensor) {
  const std::int64_t rows = tensor.shape()[0];
  const std::int64_t channels = tensor.shape()[1];
  Tensor out = Tensor::empty(tensor.dtype(), {rows * kTilesDown, channels * kTilesAcross});
  const std::size_t row_bytes = static_cast<std::size_t>(channels) * size_bytes(tensor.dtype());
  std::byte* to = out.mutable_data();
  for (std::int64_t row = 0; row < rows * kTilesDown; ++row) {
    for (std::int64_t across = 0; across < kTilesAcross; ++across, to += row_bytes) {
      const std::int64_t from = (row + across * 67 + row / rows * 31 * (across + 1)) % rows;
      std::memcpy(to, tensor.view().data + static_cast<std::size_t>(from) * row_bytes, row_bytes);
    }
  }
  return out;
}

void copy_memory(benchmark::State& state, const Case& input) {
  const Tensor& tensor = input.steps.back();
  Tensor target = Tensor::empty(tensor.dtype(), tensor.shape());
  for (auto _ : state) {
    std::memcpy(target.mutable_data(), tensor.view().data, tensor.bytes());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * tensor.bytes()));
}

struct CodedStream {
  std::vector<codec::EncodedFrame> frames;
};

Result<CodedStream> encode_all(const Case& input, const codec::Profile& profile) {
  PINION_TRY(const std::unique_ptr<codec::Encoder> encoder, codec::Encoder::create(profile));
  CodedStream coded;
  for (const Tensor& tensor : input.steps) {
    PINION_TRY(codec::EncodedFrame frame, encoder->encode(tensor));
    coded.frames.push_back(std::move(frame));
  }
  return coded;
}

std::size_t total_bytes(const Case& input) {
  std::size_t bytes = 0;
  for (const Tensor& tensor : input.steps) bytes += tensor.bytes();
  return bytes;
}

void encode(benchmark::State& state, const Case& input, const codec::Profile& profile) {
  for (auto _ : state) {
    const Result<CodedStream> coded = encode_all(input, profile);
    if (!coded.ok()) return state.SkipWithError(coded.error().message().c_str());
    benchmark::DoNotOptimize(coded.value().frames.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * total_bytes(input)));
}

void decode(benchmark::State& state, const Case& input, const codec::Profile& profile) {
  const Result<CodedStream> coded = encode_all(input, profile);
  if (!coded.ok()) return state.SkipWithError(coded.error().message().c_str());
  for (auto _ : state) {
    const std::unique_ptr<codec::Decoder> decoder = codec::Decoder::create();
    for (const codec::EncodedFrame& sent : coded->frames) {
      if (!sent.basis.empty()) {
        if (const Result<void> added = decoder->add_basis(sent.basis); !added.ok()) {
          return state.SkipWithError(added.error().message().c_str());
        }
      }
      const Result<Tensor> tensor =
          decoder->decode(sent.frame, {.max_tensor_bytes = input.steps.front().bytes()});
      if (!tensor.ok()) return state.SkipWithError(tensor.error().message().c_str());
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * total_bytes(input)));
}

Result<std::vector<Case>> load_cases() {
  const std::string folder = std::string(PINION_SOURCE_DIR) + "/tests/data/states/";
  std::vector<Case> cases;
  for (const std::string name : {"dots_and_star", "three_on_speckles"}) {
    PINION_TRY(const std::vector<StateStream> streams, load_state_streams(folder + name + ".safetensors"));
    for (const StateStream& stream : streams) {
      if (stream.cut == "cut3" && stream.rows == "image") cases.push_back({name, stream.steps});
    }
  }
  Case large{"tiled", {}};
  for (const Tensor& step : cases.front().steps) large.steps.push_back(tiled(step));
  cases.push_back(std::move(large));
  return cases;
}

Result<void> register_all(const std::vector<Case>& cases) {
  for (const Case& input : cases) {
    const std::string what = fmt::format("{}{}", input.name, to_string(input.steps.front().shape()));
    benchmark::RegisterBenchmark(("memcpy/" + what).c_str(), copy_memory, input);
    for (const std::string text : {"lossless", "fidelity:20"}) {
      PINION_TRY(const codec::Profile profile, codec::parse_profile(text));
      benchmark::RegisterBenchmark(("encode/" + text + "/" + what).c_str(), encode, input, profile)
          ->Unit(benchmark::kMillisecond);
      benchmark::RegisterBenchmark(("decode/" + text + "/" + what).c_str(), decode, input, profile)
          ->Unit(benchmark::kMillisecond);
    }
  }
  return {};
}

}  // namespace
}  // namespace pinion::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const pinion::Result<std::vector<pinion::bench::Case>> cases = pinion::bench::load_cases();
  if (!cases.ok()) {
    fmt::print(stderr, "error: {}\n", cases.error().message());
    return 2;
  }
  if (const auto registered = pinion::bench::register_all(*cases); !registered.ok()) {
    fmt::print(stderr, "error: {}\n", registered.error().message());
    return 2;
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
