#pragma once
// How loud each row of a state is: how much the rest of the model hears of an error in it, guessed from the
// row itself. Of a text few rows are heard (those of the prompt, not of its padding), of a picture most where
// shapes have their edges; a row's own values tell which.
//
// One object is used by one thread at a time.

#include "pinion/calibration/moments.h"

namespace pinion::calibration {

// log2 of a row's loudness is bias + (row - mean) . weights, within kMaxLoudness either way.
struct Loudness {
  at::Tensor mean, weights;  // [d] float64; undefined: rows are all alike
  double bias = 0;

  at::Tensor of(const at::Tensor& rows) const;  // [n, d] to 2^l [n], float32 on the rows' device
};

// Learns it from rows and the gradients that reached them.
class LoudnessFit {
 public:
  // What an error costs elsewhere, whatever its row, as a share of what a job's rows cost on average here.
  explicit LoudnessFit(double elsewhere = 0) : elsewhere_(elsewhere) {}

  // Both [n, d], of one job and step.
  void add(const at::Tensor& rows, const at::Tensor& gradients);

  // By least squares, computed on `device`; the result is on the CPU. Rows are all alike if there were none,
  // or none was heard.
  Loudness solve(at::Device device = at::kCPU) const;

 private:
  double elsewhere_;
  Moments joined_;  // rows and log2 of their gradients' energy
};

}  // namespace pinion::calibration
