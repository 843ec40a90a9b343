#include "pinion/calibration/solve.h"

#include "pinion/models/torch_bridge.h"

namespace pinion::calibration {
namespace {

using at::Tensor;

// Where the parts of a joined row lie.
struct Parts {
  std::int64_t channels = 0;
  std::int64_t previous = 0;  // 0 at the first step, else as channels
  std::int64_t features = 0;

  Tensor state(const Tensor& matrix, std::int64_t axis) const { return matrix.narrow(axis, 0, channels); }
  Tensor before(const Tensor& matrix, std::int64_t axis) const {
    return matrix.narrow(axis, channels, previous);
  }
  Tensor latents(const Tensor& matrix, std::int64_t axis) const {
    return matrix.narrow(axis, channels + previous, features);
  }
  Tensor inputs(const Tensor& matrix, std::int64_t axis) const {  // what h is predicted from
    return matrix.narrow(axis, channels, previous + features);
  }
  Tensor velocity(const Tensor& matrix, std::int64_t axis) const {
    const std::int64_t begin = channels + previous + features;
    return matrix.narrow(axis, begin, matrix.size(axis) - begin);
  }
};

Parts parts_of(const StreamSums& sums, std::size_t step, std::int64_t latent_channels) {
  Parts parts{.channels = sums.schema.channels, .previous = 0, .features = 0};
  if (step > 0) parts.previous = parts.channels;
  if (sums.schema.has_latent_rows) parts.features = (step > 0 ? 2 : 1) * latent_channels;
  return parts;
}

struct Predicted {
  Tensor predictor;  // [inputs, outputs]
  Tensor residual;   // covariance of what is left, [outputs, outputs]
};

// Ridge regression from covariances; `noise` [inputs] is variance that the inputs will have in use besides.
Predicted regress(const Tensor& inputs, const Tensor& cross, const Tensor& outputs, const Tensor& noise,
                  double ridge) {
  if (inputs.size(0) == 0) return {at::zeros({0, outputs.size(0)}, outputs.options()), outputs};
  const Tensor diagonal = inputs.diagonal();
  const Tensor regularised = inputs + at::diag(noise + ridge * diagonal.mean());
  const Tensor predictor = at::linalg_solve(regularised, cross);
  const Tensor explained = predictor.t().matmul(cross);
  const Tensor residual =
      outputs - explained - explained.t() + predictor.t().matmul(inputs.matmul(predictor));
  return {predictor, residual};
}

// Symmetric powers of S with its regularisation.
struct Weighting {
  Tensor root;           // S^(1/2)
  Tensor inverse_scale;  // diagonal of S^-1
};

Weighting weighting_of(const Tensor& sensitivity, double regularisation) {
  const Tensor lifted = sensitivity + regularisation * sensitivity.diagonal().mean() *
                                          at::eye(sensitivity.size(0), sensitivity.options());
  const auto [values, vectors] = at::linalg_eigh(lifted);
  return {(vectors * values.clamp_min(0).sqrt()).matmul(vectors.t()),
          (vectors * vectors / values.clamp_min(1e-300)).sum(1)};
}

// The `count` directions in which `covariance` is largest, as rows, largest first.
Tensor principal_rows(const Tensor& covariance, std::int64_t count) {
  const auto [values, vectors] = at::linalg_eigh(covariance);
  return vectors.narrow(1, vectors.size(1) - count, count).flip(1).t().contiguous();
}

Tensor square(const Tensor& left, const Tensor& covariance) {
  return left.matmul(covariance).matmul(left.t());
}

Result<void> check(const StreamSums& sums) {
  for (const Moments& step : sums.steps) {
    const std::int64_t width = step.count() == 0 ? 0 : step.mean().size(0);
    if (step.count() > width && width > 0) continue;
    return Error{Errc::kInvalidArgument,
                 "\"" + sums.schema.name + "\": " + std::to_string(step.count()) +
                     " rows are too few to calibrate " + std::to_string(width) + " values a row",
                 "use more --jobs or larger pictures"};
  }
  return {};
}

}  // namespace

Result<StreamModel> solve_stream(const StreamSums& sums, std::int64_t latent_channels,
                                 const SolveSettings& settings) {
  PINION_TRY_VOID(check(sums));
  return models::caught([&]() -> Result<StreamModel> {
    const double noise = settings.reference_step * settings.reference_step / 12;
    const std::int64_t count = std::min<std::int64_t>(settings.components, sums.schema.channels);
    const Weighting weighting = weighting_of(sums.sensitivity.mean(), settings.regularisation);
    std::vector<Tensor> covariances, means;
    for (const Moments& step : sums.steps) {
      covariances.push_back(step.covariance());
      means.push_back(step.mean());
    }

    // The rotation: where, on average over the steps, prediction leaves most that can be heard.
    Tensor heard = at::zeros_like(weighting.root);
    for (std::size_t t = 0; t < covariances.size(); ++t) {
      const Parts parts = parts_of(sums, t, latent_channels);
      const Tensor& all = covariances[t];
      const Tensor own = parts.state(parts.state(all, 0), 1);
      const Tensor inputs = parts.inputs(parts.inputs(all, 0), 1),
                   cross = parts.state(parts.inputs(all, 0), 1);
      const Tensor input_noise = at::cat({weighting.inverse_scale.narrow(0, 0, parts.previous) * noise,
                                          at::zeros({parts.features}, own.options())});
      heard += square(weighting.root, regress(inputs, cross, own, input_noise, settings.ridge).residual);
    }
    StreamModel model;
    model.projection = principal_rows(heard, count).matmul(weighting.root);

    const Tensor& p = model.projection;
    Tensor rebuilt_cross = at::zeros({count, sums.schema.channels}, p.options());
    Tensor rebuilt_own = at::zeros({count, count}, p.options());
    for (std::size_t t = 0; t < covariances.size(); ++t) {
      const Parts parts = parts_of(sums, t, latent_channels);
      const Tensor& all = covariances[t];
      const Tensor own = parts.state(parts.state(all, 0), 1);
      // Inputs in the components: [y_{t-1} | f].
      const std::int64_t carried = parts.previous > 0 ? count : 0;
      const Tensor to_inputs =
          at::zeros({carried + parts.features, parts.previous + parts.features}, p.options());
      if (carried > 0) to_inputs.narrow(0, 0, count).narrow(1, 0, parts.channels).copy_(p);
      to_inputs.narrow(0, carried, parts.features)
          .narrow(1, parts.previous, parts.features)
          .copy_(at::eye(parts.features, p.options()));
      const Tensor inputs = square(to_inputs, parts.inputs(parts.inputs(all, 0), 1));
      const Tensor cross = to_inputs.matmul(parts.state(parts.inputs(all, 0), 1)).matmul(p.t());
      const Tensor input_noise =
          at::cat({at::full({carried}, noise, p.options()), at::zeros({parts.features}, p.options())});
      const Tensor outputs = square(p, own);
      const Predicted predicted = regress(inputs, cross, outputs, input_noise, settings.ridge);
      model.steps.push_back({.mean = parts.state(means[t], 0),
                             .feature_mean = parts.latents(means[t], 0),
                             .predictor = predicted.predictor,
                             .deviations = predicted.residual.diagonal().clamp_min(0).sqrt()});
      rebuilt_cross += p.matmul(own);
      rebuilt_own += outputs + noise * at::eye(count, p.options());
    }
    model.reconstruction = at::linalg_solve(rebuilt_own, rebuilt_cross);
    return model;
  });
}

Result<StreamModel> solve_velocity(const StreamSums& sums, const StreamModel& state,
                                   std::int64_t latent_channels, const SolveSettings& settings) {
  PINION_ASSERT(sums.schema.has_latent_rows);
  PINION_TRY_VOID(check(sums));
  return models::caught([&]() -> Result<StreamModel> {
    const double noise = settings.reference_step * settings.reference_step / 12;
    const Tensor& p = state.projection;
    StreamModel model;
    std::vector<Tensor> residuals;
    Tensor left = at::zeros({latent_channels, latent_channels}, p.options());
    for (std::size_t t = 0; t < sums.steps.size(); ++t) {
      const Parts parts = parts_of(sums, t, latent_channels);
      const Tensor all = sums.steps[t].covariance(), mean = sums.steps[t].mean();
      const Tensor to_inputs = at::zeros({p.size(0) + parts.features, all.size(0)}, p.options());
      to_inputs.narrow(0, 0, p.size(0)).narrow(1, 0, parts.channels).copy_(p);
      to_inputs.narrow(0, p.size(0), parts.features)
          .narrow(1, parts.channels + parts.previous, parts.features)
          .copy_(at::eye(parts.features, p.options()));
      const Tensor input_noise =
          at::cat({at::full({p.size(0)}, noise, p.options()), at::zeros({parts.features}, p.options())});
      const Predicted predicted =
          regress(square(to_inputs, all), to_inputs.matmul(parts.velocity(all, 1)),
                  parts.velocity(parts.velocity(all, 0), 1), input_noise, settings.ridge);
      model.steps.push_back({.mean = parts.velocity(mean, 0),
                             .feature_mean = parts.latents(mean, 0),
                             .predictor = predicted.predictor,
                             .deviations = {}});
      residuals.push_back(predicted.residual);
      left += predicted.residual;
    }
    model.projection = principal_rows(left, latent_channels);
    model.reconstruction = model.projection;  // of a rotation
    for (std::size_t t = 0; t < residuals.size(); ++t) {
      model.steps[t].predictor = model.steps[t].predictor.matmul(model.projection.t());
      model.steps[t].deviations = square(model.projection, residuals[t]).diagonal().clamp_min(0).sqrt();
    }
    return model;
  });
}

}  // namespace pinion::calibration
