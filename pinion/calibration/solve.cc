#include "pinion/calibration/solve.h"

#include <algorithm>
#include <cmath>

#include "pinion/calibration/mean_response.h"
#include "pinion/calibration/symmetric_root.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::calibration {
namespace {

using at::Tensor;

// Twice as many as long as these do not reach, up to what an encoder can still afford.
constexpr std::int64_t kFirstComponents = 256, kMostComponents = 1024;

// A step's covariance and mean, with the places of the parts in a joined row (StreamSums::steps).
class Joined {
 public:
  struct Range {
    std::int64_t begin = 0, size = 0;
  };

  Joined(const StreamSums& sums, std::size_t step, std::int64_t latent_channels, at::Device device)
      : covariance_(sums.steps[step].covariance(device)), mean_(sums.steps[step].mean(device)) {
    const std::int64_t latents = sums.schema.has_latent_rows ? latent_channels : 0;
    const auto take = [this](std::int64_t size) {
      const Range range{width_, size};
      width_ += size;
      return range;
    };
    state = take(sums.schema.channels);
    before = take(step > 0 ? sums.schema.channels : 0);
    latent = take(latents);
    change = take(step > 0 ? latents : 0);
    velocity = take(latents);
  }

  Tensor covariance(Range a, Range b) const {
    return covariance_.narrow(0, a.begin, a.size).narrow(1, b.begin, b.size);
  }
  Tensor mean(Range range) const { return mean_.narrow(0, range.begin, range.size); }

  Range state, before, latent, change, velocity;

 private:
  std::int64_t width_ = 0;
  Tensor covariance_, mean_;
};

// Covariances of the inputs and outputs of a prediction.
struct Problem {
  Tensor inputs, cross, outputs;  // [i, i], [i, o], [o, o]
  Tensor noise;                   // [i]: variance that the inputs will have in use besides
};

struct Solved {
  Tensor matrix;    // [i, o]
  Tensor residual;  // covariance of what is left, [o, o]
};

Tensor left_by(const Problem& problem, const Tensor& matrix) {
  const Tensor explained = matrix.t().matmul(problem.cross);
  return problem.outputs - explained - explained.t() + matrix.t().matmul(problem.inputs).matmul(matrix);
}

Solved regress(const Problem& problem, double ridge) {
  if (problem.inputs.size(0) == 0) return {problem.cross, problem.outputs};
  const double scale = problem.inputs.diagonal().mean().item<double>();
  const Tensor matrix =
      at::linalg_solve(problem.inputs + at::diag(problem.noise + ridge * scale), problem.cross);
  return {matrix, left_by(problem, matrix)};
}

Prediction prediction(const Problem& problem, double ridge) {
  const Solved solved = regress(problem, ridge);
  return {solved.matrix, solved.residual.diagonal().clamp_min(0).sqrt()};
}

// Joins the covariances of a list of linear images: part i of the inputs is range i times map i (undefined:
// the range as it is).
struct Input {
  Joined::Range range;
  Tensor map;        // [range, width]
  double noise = 0;  // variance of each
};

Tensor image(const Input& a, const Tensor& covariance) {
  return a.map.defined() ? a.map.t().matmul(covariance) : covariance;
}

Problem problem_of(const Joined& joined, std::vector<Input> inputs, const Input& output) {
  std::erase_if(inputs, [](const Input& input) { return input.range.size == 0; });
  const auto between = [&](const Input& a, const Input& b) {
    return image(b, image(a, joined.covariance(a.range, b.range)).t()).t();
  };
  const Tensor outputs = between(output, output);
  if (inputs.empty()) {
    return {at::zeros({0, 0}, outputs.options()), at::zeros({0, outputs.size(0)}, outputs.options()), outputs,
            at::zeros({0}, outputs.options())};
  }
  std::vector<Tensor> rows, cross, noise;
  for (const Input& a : inputs) {
    std::vector<Tensor> row;
    for (const Input& b : inputs) row.push_back(between(a, b));
    rows.push_back(at::cat(row, 1));
    cross.push_back(between(a, output));
    noise.push_back(at::full({cross.back().size(0)}, a.noise, outputs.options()));
  }
  return {at::cat(rows, 0), at::cat(cross, 0), outputs, at::cat(noise, 0)};
}

// The `count` directions in which `covariance` is largest, as columns, largest first.
Tensor principal_columns(const Tensor& covariance, std::int64_t count) {
  const auto [values, vectors] = at::linalg_eigh(covariance);
  return vectors.narrow(1, vectors.size(1) - count, count).flip(1).contiguous();
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

// One stream to solve: which part of the joined rows it is, and what its errors cost.
class StreamSolver {
 public:
  // `costs` [d, d], one a step: e cost e^T is what an error e of a row adds to the velocity's energy.
  StreamSolver(const StreamSums& sums, std::int64_t latent_channels, const SolveSettings& settings,
               bool is_velocity, std::vector<Tensor> costs)
      : settings_(settings),
        noise_(settings.reference_step * settings.reference_step / 12),
        is_velocity_(is_velocity),
        costs_(std::move(costs)) {
    for (std::size_t t = 0; t < sums.steps.size(); ++t)
      steps_.emplace_back(sums, t, latent_channels, costs_[t].device());
  }

  // The `count` directions in which what prediction leaves varies most, as columns, largest first. `root`
  // weighs the channels before.
  Tensor basis(const Tensor& root, const Tensor& inverse_scale, std::int64_t count) const {
    Tensor heard = at::zeros_like(root);
    for (const Joined& step : steps_) {
      Problem problem =
          problem_of(step, {history(step, {}), {step.latent, {}}, {step.change, {}}}, own(step, {}));
      if (const std::int64_t carried = history(step, {}).range.size; carried > 0) {
        problem.noise.narrow(0, 0, carried).copy_(inverse_scale * noise_);
      }
      heard += root.matmul(regress(problem, settings_.ridge).residual).matmul(root);
    }
    return root.matmul(principal_columns(heard, count));
  }

  // With the columns of basis(), or the first of them, as the projection.
  StreamModel solve(const Tensor& projection) const {
    StreamModel model;
    model.has_history = !is_velocity_;
    model.projection = projection;
    model.reconstruction = reconstruction(model.projection);
    double ridge = settings_.ridge;
    do {
      model.steps.clear();
      for (std::size_t t = 0; t < steps_.size(); ++t) model.steps.push_back(solve_step(t, model, ridge));
      ridge *= 10;
    } while (model.has_history && drifts(model) && ridge <= 10);
    if (model.steps.size() > 1) {
      model.steps[0].history = model.steps[1].history;
      model.steps[0].change_mean = model.steps[1].change_mean;
    }
    return model;
  }

 private:
  Input own(const Joined& step, const Tensor& map) const {
    return {is_velocity_ ? step.velocity : step.state, map};
  }
  Input history(const Joined& step, const Tensor& map) const {
    return {is_velocity_ ? Joined::Range{} : step.before, map, map.defined() ? noise_ : 0};
  }

  // One for all steps: the rows that come from y, then those from u.
  Tensor reconstruction(const Tensor& projection) const {
    Tensor inputs, cross;
    for (const Joined& step : steps_) {
      Input y = own(step, projection);
      y.noise = noise_;
      const Problem problem = problem_of(step, {y, {step.latent, {}}}, own(step, {}));
      const Tensor with_noise = problem.inputs + at::diag(problem.noise);
      inputs = inputs.defined() ? inputs + with_noise : with_noise;
      cross = cross.defined() ? cross + problem.cross : problem.cross;
    }
    const double lift = 1e-9 * inputs.diagonal().mean().item<double>();
    return at::linalg_solve(inputs + lift * at::eye(inputs.size(0), inputs.options()), cross);
  }

  StepModel solve_step(std::size_t t, const StreamModel& model, double ridge) const {
    const Joined& step = steps_[t];
    const Tensor& p = model.projection;
    const Input y = own(step, p);
    const std::int64_t carried = model.has_history ? p.size(1) : 0;
    StepModel solved;
    solved.mean = step.mean(own(step, {}).range);
    solved.latent_mean = step.mean(step.latent);
    solved.change_mean = step.change.size > 0 ? step.mean(step.change) : at::zeros_like(solved.latent_mean);
    solved.alone = prediction(problem_of(step, {{step.latent, {}}}, y), ridge);
    if (step.before.size > 0) {
      solved.history =
          prediction(problem_of(step, {history(step, p), {step.latent, {}}, {step.change, {}}}, y), ridge);
      const Tensor stretched = solved.history.matrix.narrow(0, 0, carried).pow(2).sum(0) * noise_;
      solved.history.deviations = (solved.history.deviations.pow(2) + stretched).sqrt();
    } else {  // nothing comes before the only step
      solved.history = {at::cat({at::zeros({carried, p.size(1)}, p.options()), solved.alone.matrix,
                                 at::zeros({step.latent.size, p.size(1)}, p.options())},
                                0),
                        solved.alone.deviations};
    }
    const Tensor rebuilt = model.reconstruction.narrow(0, 0, p.size(1));
    solved.gain = rebuilt.matmul(costs_[t]).mul(rebuilt).sum(1);
    const Problem rebuild = problem_of(step, {y, {step.latent, {}}}, own(step, {}));
    solved.floor = std::max(0.0, left_by(rebuild, model.reconstruction).mul(costs_[t]).sum().item<double>());
    return solved;
  }

  // Whether the largest norm of a product of successive predictors' parts for y is above kMaxDrift. Few
  // products need their eigenvalues for it: the norm is between the longest column and the root of all
  // squares.
  static bool drifts(const StreamModel& model) {
    const std::int64_t k = model.projection.size(1);
    for (std::size_t first = 1; first < model.steps.size(); ++first) {
      Tensor product = at::eye(k, model.projection.options());
      for (std::size_t t = first; t < model.steps.size(); ++t) {
        product = product.matmul(model.steps[t].history.matrix.narrow(0, 0, k));
        const Tensor squares = product.pow(2).sum(0);
        if (squares.sum().item<double>() <= kMaxDrift * kMaxDrift) continue;
        if (squares.max().item<double>() > kMaxDrift * kMaxDrift) return true;
        const Tensor largest = at::linalg_eigvalsh(product.t().matmul(product))[k - 1];
        if (largest.item<double>() > kMaxDrift * kMaxDrift) return true;
      }
    }
    return false;
  }

  SolveSettings settings_;
  double noise_;
  bool is_velocity_;
  std::vector<Tensor> costs_;
  std::vector<Joined> steps_;
};

// What a step for each row saves, in bits a component: half of how much the mean loudness is above the
// typical one, in octaves. Below this much, coefficients over a grid save more, which know no rows.
constexpr double kLoudnessPays = 0.1;

bool loudness_pays(const StreamModel& model) {
  double saved = 0;
  for (const StepModel& step : model.steps) saved -= step.loudness_bias / 2;
  return saved > kLoudnessPays * static_cast<double>(model.steps.size());
}

// Such that the rows' mean loudness is 1: the sensitivity is that of a mean row.
void set_loudness(const StreamSums& sums, StreamModel& model) {
  for (std::size_t t = 0; t < sums.loudness.size(); ++t) {
    StepModel& step = model.steps[t];
    const Loudness& loudness = sums.loudness[t];
    step.loudness = at::zeros_like(step.mean);
    if (!loudness.weights.defined()) continue;
    step.loudness = loudness.weights.to(step.mean.device());
    const Tensor shift = step.mean - loudness.mean.to(step.mean.device());
    step.loudness_bias =
        loudness.bias + shift.dot(step.loudness).item<double>() - std::log2(sums.mean_loudness[t]);
  }
  if (!sums.schema.has_latent_rows || loudness_pays(model)) return;
  for (StepModel& step : model.steps) step.loudness = Tensor(), step.loudness_bias = 0;
}

// What errors of a row cost at a step, and what of it the sender can take out again.
struct Cost {
  Tensor left;      // [d, d]
  Tensor response;  // [d, latent channels]; undefined: nothing is taken out
};

Cost cost_of(const StreamSums& sums, std::size_t step, bool is_corrected, at::Device device) {
  const std::int64_t d = sums.schema.channels;
  const Tensor joined = sums.sensitivity[step].mean(device);
  const Tensor cost = joined.narrow(0, 0, d).narrow(1, 0, d);
  if (!is_corrected || joined.size(0) == d) return {cost, {}};
  const Tensor response = mean_response(joined, d);
  const Tensor cross = joined.narrow(0, d, joined.size(0) - d).narrow(1, 0, d);  // of probes and gradients
  return {cost - cross.t().matmul(response), response.t()};
}

// Of a row, by step.
std::vector<double> output_energies(const StreamSums& output, const Tensor& metric) {
  std::vector<double> energies;
  for (std::size_t t = 0; t < output.steps.size(); ++t) {
    const Joined joined(output, t, metric.size(0), metric.device());
    energies.push_back(joined.covariance(joined.velocity, joined.velocity).mul(metric).sum().item<double>());
  }
  return energies;
}

void set_output_energy(const std::vector<double>& energies, StreamModel& model) {
  for (std::size_t t = 0; t < model.steps.size(); ++t) model.steps[t].output_energy = energies[t];
}

// Whether what no component can mend leaves the output SNR that is asked for, at every step.
bool reaches(const StreamSums& sums, const StreamSums& output, const StreamModel& model, double reach_db) {
  for (std::size_t t = 0; t < model.steps.size(); ++t) {
    const double floor = model.steps[t].floor * static_cast<double>(sums.steps[t].count());
    const double signal = model.steps[t].output_energy * static_cast<double>(output.steps[t].count());
    if (floor > signal * std::pow(10, -reach_db / 10)) return false;
  }
  return true;
}

}  // namespace

Result<StreamModel> solve_state(const StreamSums& sums, const StreamSums& output, const Tensor& metric,
                                const SolveSettings& settings, at::Device device) {
  PINION_ASSERT(output.schema.has_latent_rows && sums.steps.size() == output.steps.size());
  PINION_TRY_VOID(check(sums));
  PINION_TRY_VOID(check(output));
  return models::caught([&]() -> Result<StreamModel> {
    std::vector<Tensor> costs, responses;
    Tensor sensitivity;
    for (std::size_t t = 0; t < sums.steps.size(); ++t) {
      Cost cost = cost_of(sums, t, settings.is_corrected, device);
      Tensor counted = cost.left;
      if (cost.response.defined())
        counted = counted + settings.explained_weight * cost.response.matmul(cost.response.t());
      sensitivity = sensitivity.defined() ? sensitivity + counted : counted;
      costs.push_back(std::move(cost.left));
      responses.push_back(std::move(cost.response));
    }
    sensitivity = sensitivity / static_cast<double>(costs.size());
    const Tensor lifted = sensitivity + settings.regularisation * sensitivity.diagonal().mean() *
                                            at::eye(sensitivity.size(0), sensitivity.options());
    const StreamSolver solver(sums, metric.size(0), settings, false, std::move(costs));
    const std::int64_t channels = sums.schema.channels;
    const std::int64_t most =
        std::min<std::int64_t>(settings.components > 0 ? settings.components : kMostComponents, channels);
    std::int64_t count = settings.components > 0 ? most : std::min(kFirstComponents, most);
    const Tensor basis = solver.basis(symmetric_root(lifted), at::linalg_inv(lifted).diagonal(), most);
    const std::vector<double> energies = output_energies(output, metric.to(device));
    while (true) {
      StreamModel model = solver.solve(basis.narrow(1, 0, count).contiguous());
      set_output_energy(energies, model);
      if (count == most || reaches(sums, output, model, settings.reach_db)) {
        set_loudness(sums, model);
        for (std::size_t t = 0; t < responses.size(); ++t) model.steps[t].response = responses[t];
        return model;
      }
      count = std::min(2 * count, most);
    }
  });
}

Result<StreamModel> solve_velocity(const StreamSums& output, const Tensor& metric,
                                   const SolveSettings& settings, at::Device device) {
  PINION_ASSERT(output.schema.has_latent_rows);
  PINION_TRY_VOID(check(output));
  return models::caught([&]() -> Result<StreamModel> {
    const Tensor cost = metric.to(device);
    const Tensor lifted =
        cost + settings.regularisation * cost.diagonal().mean() * at::eye(cost.size(0), cost.options());
    const StreamSolver solver(output, cost.size(0), settings, true,
                              std::vector<Tensor>(output.steps.size(), cost));
    StreamModel model =
        solver.solve(solver.basis(symmetric_root(lifted), at::linalg_inv(lifted).diagonal(), cost.size(0)));
    set_output_energy(output_energies(output, cost), model);
    return model;
  });
}

}  // namespace pinion::calibration
