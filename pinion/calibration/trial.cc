#include "pinion/calibration/trial.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "pinion/base/float_formats.h"
#include "pinion/codec/calibrated/step_target.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::calibration {
namespace {

using models::from_torch;
using models::to_torch;

// What a few jobs say is not trusted further than this.
constexpr double kLeastRatio = 0.25, kMostRatio = 16;

// One stream's two ends.
struct Coder {
  std::shared_ptr<const codec::Calibration> calibration;
  codec::CalibratedEncoder encoder;
  codec::CalibratedDecoder decoder;

  static Result<Coder> create(const std::shared_ptr<const codec::Calibration>& calibration) {
    const auto threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    PINION_TRY(codec::CalibratedEncoder encoder, codec::CalibratedEncoder::create(calibration, {}, threads));
    return Coder{calibration, std::move(encoder), codec::CalibratedDecoder(calibration, threads)};
  }

  struct Coded {
    Tensor tensor;
    double frame_bytes;
    double output_error;    // predicted
    at::Tensor correction;  // of the velocity that it leads to, [1, rows, latent channels]; undefined: none
  };

  // `step` is the calibration's record too.
  Result<Coded> code(const Tensor& tensor, const codec::CalibratedTarget& target, codec::StepContext context,
                     std::size_t step) {
    encoder.set_target(target);
    if (calibration->latents() == 0) context.latents = context.previous_latents = {};
    PINION_TRY(const codec::CalibratedFrame frame, encoder.encode(tensor.view(), context));
    PINION_TRY(Tensor decoded, decoder.decode(frame.frame, context, {.max_tensor_bytes = tensor.bytes()}));
    const double signal =
        static_cast<double>(context.output_rows) * calibration->records.at(step).output_energy;
    Coded coded{std::move(decoded),
                static_cast<double>(frame.frame.size()),
                signal * std::pow(10, -frame.stats.predicted_output_snr_db / 10),
                {}};
    if (std::vector<float> correction = encoder.correction(tensor.view(), context); !correction.empty()) {
      coded.correction = at::tensor(correction).reshape({1, context.output_rows, -1});
    }
    return coded;
  }
};

// Of rows [.., latent channels].
double energy_of(const at::Tensor& rows, const at::Tensor& metric) {
  const at::Tensor exact = rows.to(at::kDouble);
  return exact.matmul(metric).mul(exact).sum().item<double>();
}

// Of the rows about their mean.
double centred_energy(const at::Tensor& velocity, const at::Tensor& metric) {
  return energy_of(velocity - velocity.mean(1, true), metric);
}

at::Tensor on_cpu(const Tensor& tensor) { return to_torch(tensor).to(at::kFloat).cpu(); }

Tensor on_device_of(const Tensor& like, const Tensor& tensor) {
  return from_torch(to_torch(tensor).to(to_torch(like).device()));
}

}  // namespace

Result<TrialResult> Trial::run(const std::vector<codec::Calibration>& calibrations, double target_db,
                               const std::vector<TrialJob>& jobs, Measures measures,
                               const AfterStep& after_step) {
  TrialResult result;
  result.target_db = target_db;
  std::vector<std::shared_ptr<const codec::Calibration>> read;  // as the file will hold them
  for (const codec::Calibration& calibration : calibrations) {
    PINION_TRY(read.emplace_back(), codec::parse_calibration(codec::write_calibration(calibration)));
    StreamTrial& stream = result.streams.emplace_back();
    stream.stream = calibration.key.stream;
    stream.predicted.resize(sigmas_.size() - 1);
    stream.measured.resize(sigmas_.size() - 1);
  }
  double signal = 0, error = 0;
  const auto run_job = [&](const TrialJob& job) -> Result<void> {
    const c10::NoGradGuard no_grad;
    PINION_TRY_VOID(chain_.begin_job(job.constants));
    std::vector<Coder> coders;
    for (const auto& calibration : read) {
      PINION_TRY(Coder coder, Coder::create(calibration));
      coders.push_back(std::move(coder));
    }
    std::vector<codec::StepStream> step_streams;
    std::vector<float> latents = floats_of(job.noise);  // the sampler's
    std::vector<float> shared = latents, before;        // as both ends know them: without corrections
    std::optional<float> sigma_before;
    for (std::size_t step = 0; step + 1 < sigmas_.size(); ++step) {
      const auto sigma = static_cast<float>(sigmas_[step]);
      const codec::StepContext context{
          .sigma = sigma,
          .previous_sigma = sigma_before,
          .latents = shared,
          .previous_latents = before,
          .output_rows = job.constants.grid.tokens(),
          .grid = {.lines = static_cast<std::size_t>(job.constants.grid.height),
                   .columns = static_cast<std::size_t>(job.constants.grid.width)}};
      const Tensor input = Tensor::from_floats(latents, job.noise.shape());
      PINION_TRY(const TensorList state, chain_.state_at(cut_, {sigma}, input));
      PINION_ASSERT(state.size() + 1 == coders.size());
      step_streams.clear();
      for (std::size_t i = 0; i < coders.size(); ++i) {
        const std::int64_t rows =
            i < state.size() ? codec::rows_of(state[i].tensor.shape()) : context.output_rows;
        step_streams.push_back({read[i], rows});
      }
      const auto target_of = [&](std::size_t stream) {
        return codec::share_of({.output_snr_db = target_db}, step_streams, stream, context);
      };
      PINION_TRY(const Tensor exact, chain_.velocity_from(cut_, {sigma}, state));
      TensorList arrived = state;
      at::Tensor correction = at::zeros({}, at::kFloat);
      for (std::size_t i = 0; i < state.size(); ++i) {
        StreamTrial& stream = result.streams[i];
        PINION_TRY(const Tensor host, models::to_cpu(state[i].tensor));
        PINION_TRY(const Coder::Coded coded, coders[i].code(host, target_of(i), context, step));
        arrived[i].tensor = on_device_of(state[i].tensor, coded.tensor);
        if (coded.correction.defined()) correction = correction + coded.correction;
        stream.frame_bytes += coded.frame_bytes;
        stream.elements += static_cast<double>(host.elements());
        stream.predicted[step] += coded.output_error;
        if (measures != Measures::kEachStream) continue;
        TensorList alone = state;
        alone[i].tensor = arrived[i].tensor;
        PINION_TRY(const Tensor answer, chain_.velocity_from(cut_, {sigma}, std::move(alone)));
        at::Tensor corrected = on_cpu(answer);
        if (coded.correction.defined()) corrected = corrected + coded.correction;
        stream.measured[step] += energy_of(corrected - on_cpu(exact), metric_);
      }
      PINION_TRY(const Tensor velocity, chain_.velocity_from(cut_, {sigma}, std::move(arrived)));
      // Returned as workers return it.
      const Tensor half = from_torch(on_cpu(velocity).to(at::kHalf));
      PINION_TRY(const Coder::Coded returned,
                 coders.back().code(half, target_of(state.size()), context, step));
      StreamTrial& stream = result.streams.back();
      stream.frame_bytes += returned.frame_bytes;
      stream.elements += static_cast<double>(half.elements());
      stream.predicted[step] += returned.output_error;
      stream.measured[step] += energy_of(on_cpu(returned.tensor) - on_cpu(velocity), metric_);
      signal += centred_energy(on_cpu(exact), metric_);
      const at::Tensor used = on_cpu(returned.tensor) + correction;
      error += energy_of(used - on_cpu(exact), metric_);

      before = shared;
      sigma_before = sigma;
      const auto delta = static_cast<float>(sigmas_[step + 1]) - sigma;
      const std::vector<float> told = floats_of(returned.tensor), followed = floats_of(from_torch(used));
      for (std::size_t i = 0; i < latents.size(); ++i) {
        shared[i] += delta * told[i];
        latents[i] += delta * followed[i];
      }
      PINION_TRY_VOID(after_step(static_cast<int>(step)));
    }
    result.latents.push_back(Tensor::from_floats(latents, job.noise.shape()));
    return {};
  };
  for (const TrialJob& job : jobs) PINION_TRY_VOID(models::caught([&] { return run_job(job); }));
  result.output_snr_db = 10 * std::log10(signal / std::max(error, 1e-30 * signal));
  return result;
}

Result<Tensor> Trial::run_uncoded(const TrialJob& job, const AfterStep& after_step) {
  return models::caught([&]() -> Result<Tensor> {
    const c10::NoGradGuard no_grad;
    PINION_TRY_VOID(chain_.begin_job(job.constants));
    at::Tensor latents = to_torch(job.noise);
    for (std::size_t step = 0; step + 1 < sigmas_.size(); ++step) {
      const auto sigma = static_cast<float>(sigmas_[step]);
      PINION_TRY(const TensorList state, chain_.state_at(cut_, {sigma}, from_torch(latents)));
      PINION_TRY(const Tensor velocity, chain_.velocity_from(cut_, {sigma}, state));
      latents = latents + on_cpu(velocity) * (static_cast<float>(sigmas_[step + 1]) - sigma);
      PINION_TRY_VOID(after_step(static_cast<int>(step)));
    }
    return from_torch(latents);
  });
}

void correct(std::vector<codec::Calibration>& calibrations, const TrialResult& trial) {
  for (std::size_t i = 0; i < calibrations.size(); ++i) {
    const StreamTrial& stream = trial.streams[i];
    if (stream.stream == "velocity") continue;  // its own error is the output's
    for (std::size_t step = 0; step < calibrations[i].records.size(); ++step) {
      if (!(stream.predicted[step] > 0)) continue;
      const auto ratio = static_cast<float>(
          std::clamp(stream.measured[step] / stream.predicted[step], kLeastRatio, kMostRatio));
      codec::CalibrationRecord& record = calibrations[i].records[step];
      for (float& gain : record.gain) gain *= ratio;
      record.floor *= ratio;
    }
  }
}

}  // namespace pinion::calibration
