// Speed and size of the codec's modes side by side, on one core and on two: on real states, as captured and
// tiled to the rows of a large picture, and on made values of the size of a large model's state. memcpy of
// the same bytes is the yardstick. Bytes per second count the raw tensor; `ratio` is raw bytes over frame
// bytes.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "bench/made_calibration.h"
#include "bench/state_streams.h"
#include "pinion/base/float_formats.h"
#include "pinion/base/safetensors.h"
#include "pinion/codec/codec.h"
#include "pinion/codec/frame_format.h"

namespace pinion::bench {
namespace {

constexpr int kTilesDown = 4;
constexpr int kTilesAcross = 4;
constexpr double kCalibratedDb = 24;  // some 0.3 bits an element of the made streams

struct Case {
  std::string name;
  std::vector<Tensor> steps;
  std::vector<std::vector<float>> latents = {};  // of the steps, where they were captured
};

Result<std::vector<std::vector<float>>> latents_of(const std::filesystem::path& file, std::size_t steps) {
  PINION_TRY(const auto stored, SafetensorsFile::open(file));
  std::vector<std::vector<float>> latents;
  for (std::size_t i = 0; i < steps; ++i) {
    PINION_TRY(const Tensor tensor, stored.tensor("latents.t" + std::to_string(i)));
    latents.push_back(floats_of(tensor));
  }
  return latents;
}

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

struct Setting {
  codec::Profile profile;
  int threads = 1;

  Result<std::unique_ptr<codec::Encoder>> encoder() const {
    return codec::Encoder::create(profile, {.threads = threads, .measured = false});
  }
};

using Frames = std::vector<codec::EncodedFrame>;

// Sizes of the last round: raw bytes over frame bytes (bases included), and frames over the ideal entropy of
// their indices, in percent, in modes that have it.
void count_sizes(benchmark::State& state, std::size_t raw_bytes, const Frames& frames) {
  std::size_t frame_bytes = 0, basis_bytes = 0;
  double ideal_bits = 0;
  for (const codec::EncodedFrame& frame : frames) {
    frame_bytes += frame.frame.size();
    basis_bytes += frame.basis.size();
    ideal_bits += frame.stats.ideal_index_bits;
  }
  state.counters["ratio"] = static_cast<double>(raw_bytes) / static_cast<double>(frame_bytes + basis_bytes);
  if (ideal_bits > 0) {
    state.counters["over_ideal"] = 100 * (8 * static_cast<double>(frame_bytes) / ideal_bits - 1);
  }
}

Result<Frames> encode_all(const Case& input, codec::Encoder& encoder) {
  encoder.restart();
  Frames frames;
  for (const Tensor& tensor : input.steps) {
    PINION_TRY(codec::EncodedFrame frame, encoder.encode(tensor));
    frames.push_back(std::move(frame));
  }
  return frames;
}

std::size_t total_bytes(const Case& input) {
  std::size_t bytes = 0;
  for (const Tensor& tensor : input.steps) bytes += tensor.bytes();
  return bytes;
}

void encode(benchmark::State& state, const Case& input, const Setting& setting) {
  Result<std::unique_ptr<codec::Encoder>> encoder = setting.encoder();
  Frames last;
  for (auto _ : state) {
    // A fidelity encoder remembers its basis, and finding one is part of a stream's cost.
    if (setting.profile.mode == codec::Mode::kFidelity) encoder = setting.encoder();
    Result<Frames> frames = encode_all(input, **encoder);
    if (!frames.ok()) return state.SkipWithError(frames.error().message().c_str());
    last = std::move(*frames);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * total_bytes(input)));
  count_sizes(state, total_bytes(input), last);
}

void decode(benchmark::State& state, const Case& input, const Setting& setting) {
  const Result<std::unique_ptr<codec::Encoder>> encoder = setting.encoder();
  const Result<Frames> frames = encode_all(input, **encoder);
  if (!frames.ok()) return state.SkipWithError(frames.error().message().c_str());
  const std::unique_ptr<codec::Decoder> decoder = codec::Decoder::create(setting.threads);
  const auto bases = codec::BasisLimits::for_channels(
      static_cast<std::size_t>(codec::channels_of(input.steps.front().shape())));
  for (auto _ : state) {
    for (const codec::EncodedFrame& sent : *frames) {
      if (!sent.basis.empty()) {
        if (const Result<void> added = decoder->add_basis(sent.basis, bases); !added.ok()) {
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

struct CalibratedCase {
  MadeStream stream;

  std::size_t bytes() const { return stream.steps.size() * stream.steps.front().tensor.bytes(); }
};

// Made when it is first asked for: it takes a while.
const CalibratedCase& calibrated_case(std::size_t components) {
  static std::map<std::size_t, CalibratedCase> cases;
  const auto found = cases.find(components);
  if (found != cases.end()) return found->second;
  return cases.emplace(components, CalibratedCase{make_stream({.components = components})}).first->second;
}

Result<codec::CalibratedEncoder> calibrated_encoder(const CalibratedCase& input, int threads) {
  return codec::CalibratedEncoder::create(input.stream.calibration, {.output_snr_db = kCalibratedDb},
                                          threads);
}

Result<Frames> encode_all(const CalibratedCase& input, codec::CalibratedEncoder& encoder) {
  encoder.restart();
  Frames frames;
  for (const MadeStep& step : input.stream.steps) {
    PINION_TRY(codec::CalibratedFrame frame, encoder.encode(step.tensor, step.context()));
    codec::FrameStats stats;
    stats.ideal_index_bits = frame.stats.ideal_index_bits;
    frames.push_back({.frame = std::move(frame.frame), .basis = {}, .stats = stats});
  }
  return frames;
}

void encode_calibrated(benchmark::State& state, std::size_t components, int threads) {
  const CalibratedCase& input = calibrated_case(components);
  Result<codec::CalibratedEncoder> encoder = calibrated_encoder(input, threads);
  Frames last;
  for (auto _ : state) {
    Result<Frames> frames = encode_all(input, *encoder);
    if (!frames.ok()) return state.SkipWithError(frames.error().message().c_str());
    last = std::move(*frames);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * input.bytes()));
  count_sizes(state, input.bytes(), last);
}

void decode_calibrated(benchmark::State& state, std::size_t components, int threads) {
  const CalibratedCase& input = calibrated_case(components);
  Result<codec::CalibratedEncoder> encoder = calibrated_encoder(input, threads);
  const Result<Frames> frames = encode_all(input, *encoder);
  if (!frames.ok()) return state.SkipWithError(frames.error().message().c_str());
  codec::CalibratedDecoder decoder(input.stream.calibration, threads);
  for (auto _ : state) {
    for (std::size_t i = 0; i < frames->size(); ++i) {
      const MadeStep& step = input.stream.steps[i];
      const Result<Tensor> tensor =
          decoder.decode((*frames)[i].frame, step.context(), {.max_tensor_bytes = step.tensor.bytes()});
      if (!tensor.ok()) return state.SkipWithError(tensor.error().message().c_str());
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * input.bytes()));
}

Result<Frames> encode_all(const Case& input, codec::Encoder& encoder, bool with_latents) {
  Frames frames;
  for (std::size_t i = 0; i < input.steps.size(); ++i) {
    const auto latents = with_latents ? std::span<const float>(input.latents[i]) : std::span<const float>();
    PINION_TRY(codec::EncodedFrame frame, encoder.encode(input.steps[i], latents));
    frames.push_back(std::move(frame));
  }
  return frames;
}

// A captured stream, by an encoder that is told the latents of its steps, as in a job after `before`, which
// taught it a map (twice, since one small picture is too few rows); or by one that is told none.
void encode_fidelity(benchmark::State& state, const Case& input, const Case* before) {
  constexpr int kJobsBefore = 2;
  const Setting setting{{.mode = codec::Mode::kFidelity, .target_snr_db = 20}};
  Bytes map, lessons;
  const auto begin = [&] {
    auto encoder = setting.encoder().value();
    if (!lessons.empty()) encoder->offer_lessons(lessons).value();
    if (!map.empty()) {
      encoder->assume_known_basis(codec::basis_hash(map));
      encoder->offer_map(map).value();
    }
    return encoder;
  };
  for (int job = 0; job < kJobsBefore && before != nullptr; ++job) {
    const auto encoder = begin();
    const Frames frames = encode_all(*before, *encoder, true).value();
    if (frames.front().basis_kind == codec::AssetKind::kMap) map = frames.front().basis;
    lessons = encoder->lessons();
  }
  Frames last;
  for (auto _ : state) {
    Result<Frames> frames = encode_all(input, *begin(), before != nullptr);
    if (!frames.ok()) return state.SkipWithError(frames.error().message().c_str());
    last = std::move(*frames);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * total_bytes(input)));
  count_sizes(state, total_bytes(input), last);
}

// Normal values, every channel of its own size, as large as the state of a large model.
Tensor made_state() {
  constexpr std::int64_t kRows = 4608, kChannels = 4096;
  std::mt19937 dice(1);
  std::normal_distribution<float> normal;
  std::vector<float> sizes(kChannels), values(kRows * kChannels);
  for (float& size : sizes) size = std::exp(normal(dice));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = normal(dice) * sizes[i % kChannels];
  Tensor tensor = Tensor::empty(DType::kBF16, {kRows, kChannels});
  from_float(values.data(), tensor.elements(), DType::kBF16, tensor.mutable_data());
  return tensor;
}

Result<std::vector<Case>> load_cases() {
  const std::string folder = std::string(PINION_SOURCE_DIR) + "/tests/data/states/";
  std::vector<Case> cases;
  for (const std::string name : {"dots_and_star", "three_on_speckles"}) {
    PINION_TRY(const std::vector<StateStream> streams, load_state_streams(folder + name + ".safetensors"));
    for (const StateStream& stream : streams) {
      if (stream.cut != "cut3" || stream.rows != "image") continue;
      PINION_TRY(auto latents, latents_of(folder + name + ".safetensors", stream.steps.size()));
      cases.push_back({name, stream.steps, std::move(latents)});
    }
  }
  Case large{"tiled", {}};
  for (const Tensor& step : cases.front().steps) large.steps.push_back(tiled(step));
  cases.push_back(std::move(large));
  cases.push_back({"made", {made_state()}});
  return cases;
}

Result<void> register_all(const std::vector<Case>& cases) {
  for (const Case& input : cases) {
    const std::string what = fmt::format("{}{}", input.name, to_string(input.steps.front().shape()));
    benchmark::RegisterBenchmark(("memcpy/" + what).c_str(), copy_memory, input);
    for (const std::string text : {"lossless", "bounded:rel:.05", "int8", "int4", "fidelity:20"}) {
      PINION_TRY(const codec::Profile profile, codec::parse_profile(text));
      const bool is_fidelity = profile.mode == codec::Mode::kFidelity;
      if (is_fidelity && input.name == "made") continue;  // it has nothing that a basis could find
      for (const int threads : {1, 2}) {
        const std::string title = fmt::format("/{}/{}{}", text, what, threads == 1 ? "" : "/two_threads");
        const Setting setting{profile, threads};
        auto* encoding = benchmark::RegisterBenchmark(("encode" + title).c_str(), encode, input, setting);
        auto* decoding = benchmark::RegisterBenchmark(("decode" + title).c_str(), decode, input, setting);
        for (auto* direction : {encoding, decoding}) {
          direction->Unit(benchmark::kMillisecond);
          if (threads > 1) direction->UseRealTime();  // CPU time would be the caller's alone
        }
      }
    }
  }
  return {};
}

void register_mapped(const Case& input, const Case& teacher) {
  for (const Case* const before : {static_cast<const Case*>(nullptr), &teacher}) {
    const std::string title =
        std::string("encode/fidelity:20/latents_") + (before != nullptr ? "told/" : "untold/");
    benchmark::RegisterBenchmark((title + input.name).c_str(), encode_fidelity, input, before)
        ->Unit(benchmark::kMillisecond);
  }
}

void register_calibrated() {
  for (const std::size_t components : {256, 512}) {
    for (const int threads : {1, 2}) {
      const std::string title = fmt::format("/calibrated:{}/K={}[1024, 1024]{}", kCalibratedDb, components,
                                            threads == 1 ? "" : "/two_threads");
      auto* encoding =
          benchmark::RegisterBenchmark(("encode" + title).c_str(), encode_calibrated, components, threads);
      auto* decoding =
          benchmark::RegisterBenchmark(("decode" + title).c_str(), decode_calibrated, components, threads);
      for (auto* direction : {encoding, decoding}) {
        direction->Unit(benchmark::kMillisecond);
        if (threads > 1) direction->UseRealTime();
      }
    }
  }
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
  pinion::bench::register_calibrated();
  pinion::bench::register_mapped(cases->at(0), cases->at(1));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
