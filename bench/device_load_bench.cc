#include "bench/device_load_bench.h"

#include <atomic>
#include <functional>
#include <thread>

#include "bench/device_calibrated_bench.h"
#include "bench/product_load.h"

namespace pinion::bench {
namespace {

constexpr int kProducts = 200;  // of one measurement

// Matrices of zeros: the time is the same.
struct Load {
  Load() {
    constexpr std::size_t kNumbers = kLoadSide * kLoadSide;
    cudaMalloc(&x, 2 * kNumbers);
    cudaMalloc(&y, 2 * kNumbers);
    cudaMalloc(&to, 4 * kNumbers);
    cudaMemset(x, 0, 2 * kNumbers);
    cudaMemset(y, 0, 2 * kNumbers);
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
  }
  ~Load() {
    cudaFree(x);
    cudaFree(y);
    cudaFree(to);
    cudaStreamDestroy(stream);
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Milliseconds a product.
  double run() const {
    cudaEventRecord(begin, stream);
    for (int i = 0; i < kProducts; ++i) launch_product_load(x, y, to, stream);
    cudaEventRecord(end, stream);
    cudaEventSynchronize(end);
    float ms = 0;
    cudaEventElapsedTime(&ms, begin, end);
    return ms / kProducts;
  }

  void *x = nullptr, *y = nullptr;
  float* to = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
};

// Products alone, `call` alone, and both at once; false if a call failed.
bool measure_beside(const std::string& what, const Load& load, const std::function<bool()>& call) {
  load.run();
  const double alone = load.run();
  std::atomic<bool> stop = false, fine = true;
  std::vector<double> times;
  const auto work = [&] {
    while (!stop && fine) {
      const auto start = std::chrono::steady_clock::now();
      if (!call()) fine = false;
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
      times.push_back(took.count());
    }
  };
  std::thread before(work);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  stop = true;
  before.join();
  const double call_alone = at_fraction(times, 0.5);
  times.clear();
  stop = false;
  std::thread beside(work);
  const double busy = load.run();
  stop = true;
  beside.join();
  fmt::print(
      "{:38} products {:.3f} ms alone, {:.3f} beside it ({:+.0f} %); it {:.3f} ms alone, {:.3f} beside them, "
      "{} calls in {:.1f} ms\n",
      what, alone, busy, 100 * (busy / alone - 1), call_alone, at_fraction(times, 0.5), times.size(),
      busy * kProducts);
  return fine;
}

}  // namespace

bool run_beside_products(const Setting& setting) {
  if (setting.brief) return true;
  const Load load;
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  const MadeStream made(4096);
  const MadeStreamThere there(made);
  const TensorView& state = there.states[0].view;
  auto lossless = codec::DeviceEncoder::create(codec::Mode::kLossless, {.max_tensor_bytes = state.bytes()},
                                               {.predicts = false});
  const auto calibration = codec::DeviceCalibration::upload(made.calibration());
  if (!is_fine(lossless) || !is_fine(calibration)) return false;
  auto calibrated = codec::DeviceCalibratedEncoder::create(*calibration, {.output_snr_db = kMadeTargetDb},
                                                           static_cast<std::size_t>(kMadeRows));
  if (!is_fine(calibrated)) return false;
  std::size_t step = 0;
  const bool fine =
      measure_beside("lossless encode beside products", load,
                     [&] { return is_fine((*lossless)->encode(state, stream)); }) &&
      measure_beside("calibrated encode beside products", load, [&] {
        const std::size_t t = step++;
        return is_fine((*calibrated)->encode(there.states[t % 2].view, there.context(t), stream));
      });
  cudaStreamDestroy(stream);
  return fine;
}

}  // namespace pinion::bench
