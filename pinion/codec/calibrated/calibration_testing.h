#pragma once
// A synthetic stream whose optimum is known, with its calibration: latents are white; a state is latents
// times a fixed matrix plus a few slow components plus some that nothing hears. Used by one thread.

#include "pinion/codec/calibrated/synthetic_form.h"
#include "pinion/codec/codec_testing.h"

namespace pinion::codec::testing {

class SyntheticStream {
 public:
  explicit SyntheticStream(const SyntheticForm& form) : form_(form), dice_(form.seed) {
    directions_ = orthonormal_rows(form.components + form.deaf, form.channels, dice_);
    mixing_ = Matrix(form.latents, form.components);
    for (float& value : mixing_.values) value = static_cast<float>(0.5 * dice_.normal());
    means_.resize(form.channels);
    for (float& mean : means_) mean = static_cast<float>(3 * dice_.normal());
    carried_.resize(form.rows * form.components);
    const std::vector<double> first = fresh();
    for (std::size_t i = 0; i < carried_.size(); ++i) {
      carried_[i] = synthetic_deviation(i % form.components) * first[i];
    }
  }

  // What a maker with infinitely many jobs would find.
  Calibration calibration() const {
    const std::size_t k = form_.components, latents = form_.latents;
    Calibration calibration;
    calibration.key = {Digest{std::byte{7}}, 3, "image"};
    calibration.has_history = form_.has_history;
    calibration.has_loudness = form_.has_loudness;
    calibration.has_response = form_.has_response;
    calibration.projection = Matrix(form_.channels, k);
    calibration.reconstruction = Matrix(k + latents, form_.channels);
    for (std::size_t i = 0; i < k; ++i) {
      for (std::size_t c = 0; c < form_.channels; ++c) {
        calibration.projection.row(c)[i] = calibration.reconstruction.row(i)[c] = directions_.row(i)[c];
      }
    }
    for (std::size_t step = 0; step < kSyntheticSteps; ++step) {
      CalibrationRecord record;
      record.sigma = synthetic_sigma(step);
      record.mean = means_;
      record.latent_mean.resize(latents);
      record.change_mean.resize(latents);
      record.latents_alone = mixing_;
      record.history = Matrix((form_.has_history ? k : 0) + 2 * latents, k);
      const std::size_t of_latents = form_.has_history ? k : 0;
      const auto kept = static_cast<float>(form_.kept);
      for (std::size_t i = 0; form_.has_history && i < k; ++i) record.history.row(i)[i] = kept;
      // y - kept y' = (x - kept x') mixing + noise, and x' = x - delta_sigma w with delta_sigma = -1/4.
      for (std::size_t l = 0; l < latents; ++l) {
        for (std::size_t i = 0; i < k; ++i) {
          const float lost = form_.has_history ? kept : 0;
          record.history.row(of_latents + l)[i] = (1 - lost) * mixing_.row(l)[i];
          record.history.row(of_latents + latents + l)[i] = lost * -0.25f * mixing_.row(l)[i];
        }
      }
      const double fresh = form_.has_history ? std::sqrt(1 - form_.kept * form_.kept) : 1;
      for (std::size_t i = 0; i < k; ++i) {
        record.levels.push_back(level_of(synthetic_deviation(i)));
        record.history_levels.push_back(level_of(fresh * synthetic_deviation(i)));
        record.gain.push_back(synthetic_gain(i));
      }
      record.output_energy = kSyntheticOutputEnergy;
      if (form_.has_loudness) {
        const auto told = directions_.row(k);
        record.loudness.assign(told.begin(), told.end());
      }
      if (form_.has_response) record.response = response(step);
      calibration.records.push_back(std::move(record));
    }
    return calibration;
  }

  // Of a step's record: channel l of the velocity follows the direction l, more at later steps.
  Matrix response(std::size_t step) const {
    Matrix rows(form_.latents, form_.channels);
    for (std::size_t l = 0; l < std::min(form_.latents, directions_.rows); ++l)
      std::ranges::transform(directions_.row(l), rows.row(l).begin(),
                             [&](float x) { return (1.f + step) * x; });
    return transpose(rows);
  }

  struct Step {
    Tensor tensor;
    std::vector<float> latents, previous_latents;
    float sigma = 0;
    std::optional<float> previous_sigma;
    TokenGrid grid;

    StepContext context() const {
      return {sigma,
              previous_sigma,
              latents,
              previous_latents,
              tensor.shape().rank() == 0 ? 1 : tensor.shape()[0],
              grid};
    }
  };

  Step next(DType dtype = DType::kF32) {
    Step step;
    step.sigma = synthetic_sigma(count_);
    step.grid = form_.grid;
    if (count_ > 0) step.previous_sigma = synthetic_sigma(count_ - 1), step.previous_latents = last_latents_;
    step.latents.resize(form_.rows * form_.latents);
    for (float& value : step.latents) value = static_cast<float>(dice_.normal());
    std::vector<float> values(form_.rows * form_.channels);
    for (std::size_t r = 0; r < form_.rows; ++r) {
      std::vector<double> along(form_.components + form_.deaf);
      for (std::size_t i = 0; i < along.size(); ++i) {
        along[i] = i < form_.components ? carried_[r * form_.components + i] : dice_.normal();
      }
      if (form_.has_loudness) along[form_.components] = synthetic_loudness(form_, r, count_);
      for (std::size_t l = 0; l < form_.latents; ++l) {
        for (std::size_t i = 0; i < form_.components; ++i) {
          along[i] += static_cast<double>(step.latents[r * form_.latents + l]) * mixing_.row(l)[i];
        }
      }
      for (std::size_t c = 0; c < form_.channels; ++c) {
        double value = means_[c];
        for (std::size_t i = 0; i < along.size(); ++i) value += along[i] * directions_.row(i)[c];
        values[r * form_.channels + c] = static_cast<float>(value);
      }
    }
    step.tensor = tensor_of(
        dtype, {static_cast<std::int64_t>(form_.rows), static_cast<std::int64_t>(form_.channels)}, values);
    last_latents_ = step.latents;
    const std::vector<double> added = fresh();
    for (std::size_t i = 0; i < carried_.size(); ++i) {
      carried_[i] = form_.kept * carried_[i] + std::sqrt(1 - form_.kept * form_.kept) *
                                                   synthetic_deviation(i % form_.components) * added[i];
    }
    ++count_;
    return step;
  }

  // What the output hears of a difference, as an SNR: the components' squared error, summed over rows as
  // loud as they are.
  double measured_output_snr_db(const TensorView& original, const TensorView& decoded) const {
    double error = 0;
    for (std::size_t r = 0; r < form_.rows; ++r) {
      const double weight = std::exp2(loudness_of(original, r));
      for (std::size_t i = 0; i < form_.components; ++i) {
        double along = 0;
        for (std::size_t c = 0; c < form_.channels; ++c) {
          const auto at = static_cast<std::int64_t>(r * form_.channels + c);
          along += (static_cast<double>(load_as_float(original.data, original.dtype, at)) -
                    load_as_float(decoded.data, decoded.dtype, at)) *
                   directions_.row(i)[c];
        }
        error += weight * synthetic_gain(i) * along * along;
      }
    }
    return 10 * std::log10(static_cast<double>(form_.rows) * kSyntheticOutputEnergy / error);
  }

 private:
  // [rows, components] of variance 1: white, or where there is a grid the mean of nine white neighbours.
  std::vector<double> fresh() {
    const std::size_t width = form_.components;
    std::vector<double> white(form_.rows * width);
    for (double& value : white) value = dice_.normal();
    const auto [lines, columns] = form_.grid;
    if (lines == 0) return white;
    std::vector<double> smooth(white.size());
    for (std::size_t i = 0; i < white.size(); ++i) {
      const std::size_t row = i / width, token = row % (lines * columns), picture = row - token;
      for (std::size_t n = 0; n < 9; ++n) {
        const std::size_t y = (token / columns + n / 3) % lines, x = (token % columns + n % 3) % columns;
        smooth[i] += white[(picture + y * columns + x) * width + i % width] / 3;
      }
    }
    return smooth;
  }

  double loudness_of(const TensorView& tensor, std::size_t row) const {
    double loudness = 0;
    for (std::size_t c = 0; c < form_.channels && form_.has_loudness; ++c) {
      const auto at = static_cast<std::int64_t>(row * form_.channels + c);
      loudness += (static_cast<double>(load_as_float(tensor.data, tensor.dtype, at)) - means_[c]) *
                  directions_.row(form_.components)[c];
    }
    return loudness;
  }

  SyntheticForm form_;
  Dice dice_;
  Matrix directions_, mixing_;
  std::vector<float> means_, last_latents_;
  std::vector<double> carried_;
  std::size_t count_ = 0;
};

}  // namespace pinion::codec::testing
