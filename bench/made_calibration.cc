#include "bench/made_calibration.h"

#include <cmath>
#include <random>

#include "pinion/base/float_formats.h"

namespace pinion::bench {
namespace {

using codec::Matrix;

constexpr float kKept = 0.9f;         // of a component, from step to step
constexpr float kOfLatents = 0.04f;   // of each latent in each component, over its deviation
constexpr float kNoise = 0.05f;       // of each channel, outside of the components or not
constexpr float kOutputEnergy = 128;  // of a row

float deviation_of(std::size_t component) { return std::pow(1 + static_cast<float>(component) / 16, -1.5f); }

Matrix normal_matrix(std::size_t rows, std::size_t columns, std::mt19937& dice) {
  std::normal_distribution<float> normal;
  Matrix matrix(rows, columns);
  for (float& value : matrix.values) value = normal(dice);
  return matrix;
}

// Gram-Schmidt.
void make_orthonormal(Matrix& rows) {
  for (std::size_t i = 0; i < rows.rows; ++i) {
    const auto row = rows.row(i);
    for (std::size_t j = 0; j < i; ++j) {
      const auto other = rows.row(j);
      const float along = codec::dot(row, other);
      for (std::size_t c = 0; c < row.size(); ++c) row[c] -= along * other[c];
    }
    const float length = std::sqrt(codec::dot(row, row));
    for (float& value : row) value /= length;
  }
}

codec::CalibrationRecord record_of(const MadeForm& form, float sigma, float delta_sigma,
                                   std::span<const float> means, const Matrix& mixing) {
  codec::CalibrationRecord record;
  const std::size_t k = form.components, latents = form.latents;
  record.sigma = sigma;
  record.mean.assign(means.begin(), means.end());
  record.latent_mean.resize(latents);
  record.change_mean.resize(latents);
  record.latents_alone = mixing;
  record.history = Matrix(k + 2 * latents, k);
  for (std::size_t i = 0; i < k; ++i) record.history.row(i)[i] = kKept;
  // What of y the last y does not tell: (x - kept x') mixing, and x' = x - delta_sigma w.
  for (std::size_t l = 0; l < latents; ++l) {
    for (std::size_t i = 0; i < k; ++i) {
      record.history.row(k + l)[i] = (1 - kKept) * mixing.row(l)[i];
      record.history.row(k + latents + l)[i] = kKept * delta_sigma * mixing.row(l)[i];
    }
  }
  const float fresh = std::sqrt(1 - kKept * kKept);
  for (std::size_t i = 0; i < k; ++i) {
    record.levels.push_back(codec::level_of(static_cast<double>(deviation_of(i))));
    record.history_levels.push_back(codec::level_of(static_cast<double>(fresh * deviation_of(i))));
    record.gain.push_back(1);
  }
  record.output_energy = kOutputEnergy;
  return record;
}

}  // namespace

MadeStream make_stream(const MadeForm& form) {
  std::mt19937 dice(1);
  std::normal_distribution<float> normal;
  Matrix directions = normal_matrix(form.components, form.channels, dice);
  make_orthonormal(directions);
  std::vector<float> means(form.channels);
  for (float& mean : means) mean = 3 * normal(dice);
  Matrix mixing = normal_matrix(form.latents, form.components, dice);
  for (std::size_t l = 0; l < form.latents; ++l) {
    for (std::size_t i = 0; i < form.components; ++i) mixing.row(l)[i] *= kOfLatents * deviation_of(i);
  }
  const auto sigma_of = [&](std::size_t step) {
    return 1 - static_cast<float>(step) / static_cast<float>(form.steps);
  };

  codec::Calibration calibration;
  calibration.key = {Digest{std::byte{7}}, 3, "image"};
  calibration.projection = transpose(directions);
  calibration.reconstruction = Matrix(form.components + form.latents, form.channels);
  std::copy(directions.values.begin(), directions.values.end(), calibration.reconstruction.values.begin());
  for (std::size_t step = 0; step < form.steps; ++step) {
    calibration.records.push_back(
        record_of(form, sigma_of(step), -1 / static_cast<float>(form.steps), means, mixing));
  }

  MadeStream stream;
  stream.calibration = codec::parse_calibration(codec::write_calibration(calibration)).value();
  Matrix carried = normal_matrix(form.components, form.rows, dice);
  for (std::size_t i = 0; i < form.components; ++i) {
    for (float& value : carried.row(i)) value *= deviation_of(i);
  }
  for (std::size_t step = 0; step < form.steps; ++step) {
    MadeStep made;
    made.sigma = sigma_of(step);
    if (step > 0) {
      made.previous_sigma = sigma_of(step - 1);
      made.previous_latents = stream.steps.back().latents;
    }
    const Matrix latents = normal_matrix(form.latents, form.rows, dice);
    made.latents = transpose(latents).values;
    Matrix components = multiply_transposed(mixing, latents);
    for (std::size_t i = 0; i < components.values.size(); ++i) components.values[i] += carried.values[i];
    Matrix values = multiply_transposed(components, directions);
    for (std::size_t r = 0; r < form.rows; ++r) {
      for (std::size_t c = 0; c < form.channels; ++c) values.row(r)[c] += means[c] + kNoise * normal(dice);
    }
    made.tensor = Tensor::empty(
        DType::kBF16, {static_cast<std::int64_t>(form.rows), static_cast<std::int64_t>(form.channels)});
    from_float(values.values.data(), made.tensor.elements(), DType::kBF16, made.tensor.mutable_data());
    stream.steps.push_back(std::move(made));
    for (std::size_t i = 0; i < form.components; ++i) {
      const float fresh = std::sqrt(1 - kKept * kKept) * deviation_of(i);
      for (float& value : carried.row(i)) value = kKept * value + fresh * normal(dice);
    }
  }
  return stream;
}

}  // namespace pinion::bench
