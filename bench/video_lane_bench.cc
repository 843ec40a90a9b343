// video_lane_bench [--threads N] [FILE.safetensors]
//
// Both packings of docs/planes.md through HEVC in software and back: bits and fidelity on captured states,
// all steps as one video, and speed on a large picture of noise, which is what states look like to a video
// encoder.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <random>

#include "bench/state_streams.h"
#include "bench/video_round_trip.h"
#include "pinion/base/float_formats.h"
#include "pinion/codec/planes/plane_side_info.h"

namespace pinion::bench {
namespace {

constexpr std::size_t kNoiseSide = 2048;
constexpr int kNoisePictures = 4;

struct Request {
  std::string file = std::string(PINION_SOURCE_DIR) + "/tests/data/states/dots_and_star.safetensors";
  std::string cut = "cut3";
  int threads = 2;
};

struct StepResult {
  double bits = 0, snr_db = 0;
};

StepResult result_of(const Tensor& step, const Tensor& received, std::size_t bytes) {
  const auto channels = static_cast<std::size_t>(step.shape()[1]);
  return {static_cast<double>(bytes) * 8 / static_cast<double>(step.elements()),
          snr_db_of_cosine(centred_cosine(floats_of(step), floats_of(received), channels))};
}

Result<std::vector<StepResult>> code_ranges(const StateStream& stream, codec::EncoderSettings settings) {
  const codec::RangePacking packing{.grid = stream.grid};
  PINION_TRY(const codec::PictureLayout layout, codec::range_layout(stream.grid, 8, packing.padding));
  settings.kind = {layout.width(), layout.height(), codec::PictureFormat::k444};
  PINION_TRY(VideoRoundTrip video, VideoRoundTrip::open(settings));
  std::vector<StepResult> results;
  for (const Tensor& step : stream.steps) {
    PINION_TRY(codec::RangePictures packed, codec::pack_ranges(step, packing));
    PINION_TRY(const VideoRoundTrip::Passed passed, video.pass(packed.pictures));
    PINION_TRY(const Tensor received, codec::unpack_ranges(passed.pictures, packed.ranges, packing));
    const Bytes side = codec::write_side_info(codec::RangeSideInfo{packing, std::move(packed.ranges)});
    results.push_back(result_of(step, received, passed.bytes + side.size()));
  }
  return results;
}

Result<std::vector<StepResult>> code_components(const StateStream& stream, codec::EncoderSettings settings) {
  const auto channels = static_cast<std::size_t>(stream.steps.front().shape()[1]);
  // The finest step that clips nothing in the first state, and a little more for those after it.
  float widest = 0;
  const std::vector<float> first = floats_of(stream.steps.front());
  for (std::size_t c = 0; c < channels; ++c) {
    float low = first[c], high = first[c];
    for (std::size_t i = c; i < first.size(); i += channels) {
      low = std::min(low, first[i]);
      high = std::max(high, first[i]);
    }
    widest = std::max(widest, high - low);
  }
  const codec::ComponentPacking packing{stream.grid, widest / 240};
  PINION_TRY(const codec::PictureLayout layout, codec::component_layout(stream.grid, channels));
  settings.kind = {layout.width(), layout.height(), codec::PictureFormat::kGrey};
  PINION_TRY(VideoRoundTrip video, VideoRoundTrip::open(settings));
  std::vector<StepResult> results;
  std::vector<std::int32_t> offsets;
  for (const Tensor& step : stream.steps) {
    PINION_TRY(codec::ComponentPictures packed, codec::pack_components(step, {}, offsets, packing));
    PINION_TRY(const VideoRoundTrip::Passed passed, video.pass(packed.pictures));
    PINION_TRY(const Tensor received, codec::unpack_components(passed.pictures, {}, packed.offsets, packing));
    const codec::ComponentSideInfo info{packing, channels,
                                        offsets.empty() ? packed.offsets : std::vector<std::int32_t>{}};
    results.push_back(result_of(step, received, passed.bytes + codec::write_side_info(info).size()));
    offsets = std::move(packed.offsets);
  }
  return results;
}

void print_row(std::string_view packing, std::string_view effort, std::string_view quality,
               const std::vector<StepResult>& results) {
  StepResult later;
  for (std::size_t s = 1; s < results.size(); ++s) {
    later.bits += results[s].bits / static_cast<double>(results.size() - 1);
    later.snr_db += results[s].snr_db / static_cast<double>(results.size() - 1);
  }
  fmt::print("{:<11} {:<9} {:<9} {:>7.3f} {:>7.2f} {:>7.3f} {:>7.2f}\n", packing, effort, quality,
             results.front().bits, results.front().snr_db, later.bits, later.snr_db);
}

Result<void> print_fidelity(const StateStream& stream, int threads) {
  fmt::print("{} {} {}: bits per element and centred SNR in dB\n", stream.file, stream.cut, stream.rows);
  fmt::print("{:<11} {:<9} {:<9} {:>15} {:>15}\n", "packing", "effort", "quality", "first step",
             "later steps");
  for (const auto effort : {codec::CodingEffort::kFast, codec::CodingEffort::kThorough}) {
    const std::string_view effort_name = effort == codec::CodingEffort::kFast ? "fast" : "thorough";
    for (const int qp : {-1, 1, 4, 10, 16, 22}) {  // -1: lossless
      codec::EncoderSettings settings;
      settings.lossless = qp < 0;
      settings.qp = std::max(qp, 0);
      settings.effort = effort;
      settings.threads = threads;
      const std::string quality = qp < 0 ? "lossless" : "QP " + std::to_string(qp);
      PINION_TRY(const std::vector<StepResult> ranges, code_ranges(stream, settings));
      print_row("ranges", effort_name, quality, ranges);
      PINION_TRY(const std::vector<StepResult> components, code_components(stream, settings));
      print_row("components", effort_name, quality, components);
    }
  }
  return {};
}

Result<void> print_speed(int threads) {
  const codec::PictureKind kind{kNoiseSide, kNoiseSide, codec::PictureFormat::kGrey};
  Tensor pictures = Tensor::empty(DType::kU8, {kNoisePictures, 1, kNoiseSide, kNoiseSide});
  std::mt19937 random(1);
  std::normal_distribution<float> normal(128, 20);
  for (std::size_t i = 0; i < pictures.bytes(); ++i)
    pictures.mutable_data()[i] = static_cast<std::byte>(std::clamp(normal(random), 0.0f, 255.0f));
  fmt::print("\n{} pictures of noise, {} x {}, {} threads: MB of levels a second\n", kNoisePictures,
             kNoiseSide, kNoiseSide, threads);
  for (const auto effort : {codec::CodingEffort::kFast, codec::CodingEffort::kThorough}) {
    for (const bool lossless : {false, true}) {
      PINION_TRY(
          VideoRoundTrip video,
          VideoRoundTrip::open({.kind = kind, .lossless = lossless, .effort = effort, .threads = threads}));
      PINION_TRY(const VideoRoundTrip::Passed passed, video.pass(pictures));
      const double megabytes = static_cast<double>(pictures.bytes()) / 1e6;
      fmt::print("{:<9} {:<9} {:>6.3f} bits a level, encode {:>6.2f}, decode {:>6.2f}\n",
                 effort == codec::CodingEffort::kFast ? "fast" : "thorough", lossless ? "lossless" : "QP 18",
                 static_cast<double>(passed.bytes) * 8 / static_cast<double>(pictures.bytes()),
                 megabytes / video.encode_ms() * 1000, megabytes / video.decode_ms() * 1000);
    }
  }
  return {};
}

Result<void> run(const Request& request) {
  PINION_TRY(const std::vector<StateStream> streams, load_state_streams(request.file));
  for (const StateStream& stream : streams) {
    if (stream.cut == request.cut && stream.rows == "image")
      PINION_TRY_VOID(print_fidelity(stream, request.threads));
  }
  return print_speed(request.threads);
}

}  // namespace
}  // namespace pinion::bench

int main(int argc, char** argv) {
  pinion::bench::Request request;
  CLI::App app("Tensors as video planes: size, fidelity and speed in software");
  app.add_option("file", request.file, "Captured states")->capture_default_str();
  app.add_option("--cut", request.cut, "The cut whose image rows are coded")->capture_default_str();
  app.add_option("--threads", request.threads)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const pinion::Result<void> done = pinion::bench::run(request);
  if (!done.ok()) fmt::print(stderr, "error: {}\n", done.error().message());
  return done.ok() ? 0 : 2;
}
