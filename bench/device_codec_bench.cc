// Speed of the codec on a CUDA device: median and 99th percentile over RUNS calls, by the clock of the host
// (a call returns when the size, or the verdict, has been read back) and by the device's. Values are made:
// normal, every channel of its own size, and for `next` a step that differs a little from the one before. The
// frame stays in device memory; `to host` copies it. Bytes per second count the raw tensor. Then the codec
// beside products of matrices on another stream: what each takes from the other. Usage: device_codec_bench
// [RUNS]

#include <cmath>
#include <cstdlib>
#include <random>
#include <string_view>

#include "bench/device_calibrated_bench.h"
#include "bench/device_fidelity_bench.h"
#include "bench/device_load_bench.h"
#include "bench/device_timing.h"
#include "pinion/base/float_formats.h"
#include "pinion/codec/cuda/device_codec.h"

namespace pinion::bench {
namespace {

Tensor made_state(std::int64_t rows, std::int64_t channels, float change) {
  std::mt19937 dice(1);
  std::normal_distribution<float> normal;
  std::vector<float> sizes(static_cast<std::size_t>(channels));
  for (float& size : sizes) size = std::exp(normal(dice));
  // A large pool instead of a draw for each element: quick, and no two rows alike.
  std::vector<float> pool(1 << 20);
  for (float& value : pool) value = normal(dice);
  std::vector<float> values(static_cast<std::size_t>(rows * channels));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float value = pool[(i * 2654435761u >> 7) % pool.size()];
    const float other = pool[(i * 40503u + 12345) % pool.size()];
    values[i] = (value + change * other) * sizes[i % sizes.size()];
  }
  Tensor tensor = Tensor::empty(DType::kBF16, {rows, channels});
  from_float(values.data(), tensor.elements(), DType::kBF16, tensor.mutable_data());
  return tensor;
}

struct Case {
  codec::Mode mode = codec::Mode::kLossless;
  bool predicts = false;
  double bound = 0;  // of kBounded
  bool bound_is_relative = false;

  std::string title(const Shape& shape) const {
    const std::string of_bound =
        bound == 0 ? "" : fmt::format(":{}{:g}", bound_is_relative ? "rel:" : "", bound);
    return fmt::format("{}{}{} {}", codec::name(mode), of_bound, predicts ? ", next" : "", to_string(shape));
  }
};

bool run_case(const Case& of, const OnDevice& first, const OnDevice& second, const Setting& setting,
              cudaStream_t stream) {
  const std::size_t bytes = first.view.bytes();
  const codec::DecodeLimits limits = {.max_tensor_bytes = bytes};
  auto encoder = codec::DeviceEncoder::create(
      of.mode, limits,
      {.predicts = of.predicts, .error_bound = of.bound, .bound_is_relative = of.bound_is_relative});
  auto decoder = codec::DeviceDecoder::create(limits, {.keeps_last = of.predicts});
  if (!is_fine(encoder) || !is_fine(decoder)) return false;
  const std::string title = of.title(first.view.shape);
  Timer timer(stream);
  codec::DeviceFrame frame;
  const auto encode = [&](int run) {
    const auto encoded = (*encoder)->encode((run % 2 == 0 ? first : second).view, stream);
    if (!is_fine(encoded)) return false;
    frame = *encoded;
    return true;
  };
  if (!timer.measure("encode " + title, bytes, setting, encode)) return false;
  const auto copy = [&](int) { return is_fine((*encoder)->copy_to_host(stream)); };
  if (!timer.measure("to host " + title, bytes, setting, copy)) return false;

  const std::size_t frame_bytes = frame.bytes;
  bool fine = true;
  if (!of.predicts) {
    const auto host = (*encoder)->copy_to_host(stream);
    if (!is_fine(host)) return false;
    void* out = nullptr;
    cudaMalloc(&out, bytes);
    for (const bool from_host : {false, true}) {
      const auto decode = [&](int) {
        return is_fine((*decoder)->decode(*host, {static_cast<std::byte*>(out), bytes}, stream,
                                          from_host ? nullptr : frame.data));
      };
      fine = fine &&
             timer.measure((from_host ? "decode from host " : "decode ") + title, bytes, setting, decode);
    }
    cudaFree(out);
  }
  fmt::print("{:47} {:.3f} of the tensor's bytes; scratch {:.2f} encoding, {:.2f} decoding\n", "  frame",
             static_cast<double>(frame_bytes) / static_cast<double>(bytes),
             static_cast<double>((*encoder)->scratch_bytes()) / static_cast<double>(bytes),
             static_cast<double>((*decoder)->scratch_bytes()) / static_cast<double>(bytes));
  return fine;
}

int run_all(const Setting& setting) {
  cudaDeviceProp device{};
  if (cudaGetDeviceProperties(&device, 0) != cudaSuccess) {
    fmt::print("no CUDA device here: nothing to measure\n");
    return 0;
  }
  fmt::print("{}, {} runs\n", device.name, setting.runs);
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  for (const std::int64_t channels : {4096, 6144}) {
    if (setting.brief && channels != 4096) break;
    const OnDevice first(made_state(4608, channels, 0)), second(made_state(4608, channels, 0.02f));
    using enum codec::Mode;
    for (const Case& of :
         {Case{kLossless}, Case{kBounded, false, 0.05}, Case{kBounded, false, 0.02, true}, Case{kInt8},
          Case{kInt4}, Case{kLossless, true}, Case{kBounded, true, 0.02, true}}) {
      if (!run_case(of, first, second, setting, stream)) return 1;
    }
    if (!run_fidelity_decoding(channels, setting, stream)) return 1;
    if (!run_fidelity_encoding(channels, setting, stream)) return 1;
    if (!run_calibrated(channels, setting, stream)) return 1;
  }
  if (!run_beside_products(setting)) return 1;
  cudaStreamDestroy(stream);
  return 0;
}

}  // namespace
}  // namespace pinion::bench

int main(int argc, char** argv) {
  pinion::bench::Setting setting;
  if (argc > 1) setting.runs = std::max(1, std::atoi(argv[1]));
  setting.brief = argc > 2 && std::string_view(argv[2]) == "--brief";
  if (setting.brief) setting.warm_up = 1;
  return pinion::bench::run_all(setting);
}
