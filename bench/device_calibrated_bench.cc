#include "bench/device_calibrated_bench.h"

#include <cmath>
#include <cstring>
#include <random>

#include "pinion/base/float_formats.h"

namespace pinion::bench {
namespace {

constexpr std::size_t kComponents = 512, kLatents = 128;
constexpr double kKept = 0.95;  // of a component from one step to the next
constexpr double kFall = 96;    // components over which deviations fall by half
constexpr float kSigmaChange = -.05f;

double deviation(std::size_t component) { return std::exp2(-static_cast<double>(component) / kFall); }

// Component k is the mean of every 512th channel from the k-th on, and one latent is in it.
codec::Calibration made_calibration(std::size_t channels) {
  codec::Calibration made;
  made.key = {Digest{}, 1, "image"};
  made.projection = codec::Matrix(channels, kComponents);
  made.reconstruction = codec::Matrix(kComponents + kLatents, channels);
  const auto share = 1 / std::sqrt(static_cast<float>(channels) / kComponents);
  for (std::size_t c = 0; c < channels; ++c)
    made.projection.row(c)[c % kComponents] = made.reconstruction.row(c % kComponents)[c] = share;
  for (const float sigma : {1.0f, 0.0f}) {
    codec::CalibrationRecord record;
    record.sigma = sigma;
    record.mean.assign(channels, 0.25f);
    record.latent_mean.resize(kLatents);
    record.change_mean.resize(kLatents);
    record.latents_alone = codec::Matrix(kLatents, kComponents);
    record.history = codec::Matrix(kComponents + 2 * kLatents, kComponents);
    for (std::size_t k = 0; k < kComponents; ++k) {
      const auto part = static_cast<float>(deviation(k));
      record.latents_alone.row(k % kLatents)[k] = part;
      record.history.row(k)[k] = static_cast<float>(kKept);
      record.history.row(kComponents + k % kLatents)[k] = static_cast<float>(1 - kKept) * part;
      record.history.row(kComponents + kLatents + k % kLatents)[k] =
          static_cast<float>(kKept) * part * kSigmaChange;
      record.levels.push_back(codec::level_of(deviation(k)));
      record.history_levels.push_back(codec::level_of(std::sqrt(1 - kKept * kKept) * deviation(k)));
      record.gain.push_back(1);
    }
    record.output_energy = 40;
    made.records.push_back(std::move(record));
  }
  return made;
}

}  // namespace

MadeStream::MadeStream(std::int64_t channels) {
  const auto width = static_cast<std::size_t>(channels), rows = static_cast<std::size_t>(kMadeRows);
  calibration_ = codec::parse_calibration(codec::write_calibration(made_calibration(width))).value();
  std::mt19937 dice(7);
  std::normal_distribution<float> normal;
  std::vector<float> pool(1 << 20);
  for (float& value : pool) value = normal(dice);
  std::size_t next = 0;
  const auto draw = [&] { return pool[(next++ * 2654435761u >> 9) % pool.size()]; };
  const auto share = 1 / std::sqrt(static_cast<float>(width) / kComponents);
  std::vector<float> own(rows * kComponents), values(rows * width);
  for (float& value : own) value = draw();
  for (std::size_t t = 0; t < 2; ++t) {
    latents_[t].resize(rows * kLatents);
    for (float& value : latents_[t]) value = draw();
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t k = 0; k < kComponents; ++k) {
        float& value = own[r * kComponents + k];
        value = static_cast<float>(kKept) * value + static_cast<float>(std::sqrt(1 - kKept * kKept)) * draw();
        const float y = (value + latents_[t][r * kLatents + k % kLatents]) * static_cast<float>(deviation(k));
        for (std::size_t c = k; c < width; c += kComponents) values[r * width + c] = .25f + y * share;
      }
    }
    states_[t] = Tensor::empty(DType::kBF16, {kMadeRows, channels});
    from_float(values.data(), states_[t].elements(), DType::kBF16, states_[t].mutable_data());
  }
}

MadeStreamThere::MadeStreamThere(const MadeStream& stream)
    : states{OnDevice(stream.state(0)), OnDevice(stream.state(1))} {
  for (std::size_t t = 0; t < 2; ++t) {
    const std::size_t bytes = stream.latents(t).size() * sizeof(float);
    cudaMalloc(&latents[t], bytes);
    cudaMemcpy(latents[t], stream.latents(t).data(), bytes, cudaMemcpyHostToDevice);
  }
}

MadeStreamThere::~MadeStreamThere() {
  for (float* there : latents) cudaFree(there);
}

codec::DeviceStepContext MadeStreamThere::context(std::size_t step) const {
  codec::DeviceStepContext context;
  context.output_rows = kMadeRows;
  // Between the records, so that every number of the calibration is blended.
  context.sigma = .9f - .05f * static_cast<float>(step % 10);
  context.latents = latents[step % 2];
  if (step == 0) return context;
  context.previous_sigma = context.sigma - kSigmaChange;
  context.previous_latents = latents[(step + 1) % 2];
  return context;
}

bool run_calibrated(std::int64_t channels, const Setting& setting, cudaStream_t stream) {
  const MadeStream made(channels);
  const MadeStreamThere there(made);
  const std::size_t bytes = there.states[0].view.bytes();
  const auto calibration = codec::DeviceCalibration::upload(made.calibration());
  if (!is_fine(calibration)) return false;
  const auto rows = static_cast<std::size_t>(kMadeRows);
  auto encoder = codec::DeviceCalibratedEncoder::create(*calibration, {.output_snr_db = kMadeTargetDb}, rows);
  if (!is_fine(encoder)) return false;
  const std::string title = fmt::format("calibrated {}", to_string(there.states[0].view.shape));
  Timer timer(stream);

  // All frames of the stream, for the decoders.
  const auto steps = static_cast<std::size_t>(setting.runs + setting.warm_up);
  std::vector<Bytes> frames;
  codec::DeviceCalibratedFrame last;
  for (std::size_t t = 0; t < steps; ++t) {
    const auto coded = (*encoder)->encode(there.states[t % 2].view, there.context(t), stream);
    if (!is_fine(coded)) return false;
    last = *coded;
    const auto host = (*encoder)->copy_to_host(stream);
    if (!is_fine(host)) return false;
    frames.emplace_back(host->begin(), host->end());
  }
  std::size_t most = 0;
  for (const Bytes& frame : frames) most = std::max(most, frame.size());
  std::byte *pinned = nullptr, *copies = nullptr, *out = nullptr;
  cudaMallocHost(&pinned, most * steps);
  cudaMalloc(&copies, most * steps);
  cudaMalloc(&out, bytes);
  for (std::size_t t = 0; t < steps; ++t) std::memcpy(pinned + most * t, frames[t].data(), frames[t].size());
  cudaMemcpy(copies, pinned, most * steps, cudaMemcpyHostToDevice);

  bool fine = timer.measure("encode " + title, bytes, setting, [&](int run) {
    const std::size_t t = steps + static_cast<std::size_t>(run);
    return is_fine((*encoder)->encode(there.states[t % 2].view, there.context(t), stream));
  });
  fine = fine && timer.measure("to host " + title, bytes, setting,
                               [&](int) { return is_fine((*encoder)->copy_to_host(stream)); });
  std::size_t scratch = 0;
  for (const bool from_host : {false, true}) {
    auto decoder = codec::DeviceCalibratedDecoder::create(*calibration, rows);
    if (!is_fine(decoder)) return false;
    scratch = (*decoder)->scratch_bytes();
    fine = fine &&
           timer.measure((from_host ? "decode from host " : "decode ") + title, bytes, setting, [&](int run) {
             const auto t = static_cast<std::size_t>(run);
             return is_fine((*decoder)->decode(ByteSpan(pinned + most * t, frames[t].size()),
                                               there.context(t), {out, bytes}, {.max_tensor_bytes = bytes},
                                               stream, from_host ? nullptr : copies + most * t));
           });
  }
  const double size = static_cast<double>(frames.back().size());
  fmt::print(
      "{:38} {:.4f} of the tensor's bytes, {:.2f} bits an index, {:.1f} % more than the indices, {:.2f} dB; "
      "scratch {:.2f} encoding, {:.2f} decoding\n",
      "  frame", size / static_cast<double>(bytes), last.coded_bits / static_cast<double>(kComponents * rows),
      100 * (8 * size / last.coded_bits - 1), last.predicted_output_snr_db,
      static_cast<double>((*encoder)->scratch_bytes()) / static_cast<double>(bytes),
      static_cast<double>(scratch) / static_cast<double>(bytes));
  cudaFreeHost(pinned);
  cudaFree(copies);
  cudaFree(out);
  return fine;
}

}  // namespace pinion::bench
