#pragma once
// A synthetic stream, coded and decoded step by step, for tests of how rows on a grid are coded.

#include <gtest/gtest.h>

#include <cmath>

#include "pinion/codec/calibrated/calibration_testing.h"

namespace pinion::codec::testing {

struct CodedStream {
  std::shared_ptr<const Calibration> calibration;
  std::vector<SyntheticStream::Step> steps;
  std::vector<Bytes> frames;

  double bytes() const {
    double sum = 0;
    for (const Bytes& frame : frames) sum += static_cast<double>(frame.size());
    return sum;
  }
};

// All steps of the stream; the encoder is told that its rows lie on `told`. Expects that the frames state
// what decoders get, and that a target in dB is met.
inline CodedStream code_stream(const SyntheticForm& form, const TokenGrid& told,
                               const CalibratedTarget& target, int threads = 1) {
  SyntheticStream stream(form);
  CodedStream coded{.calibration = through_bytes(stream.calibration()), .steps = {}, .frames = {}};
  auto encoder = CalibratedEncoder::create(coded.calibration, target, threads).value();
  CalibratedDecoder decoder(coded.calibration, threads);
  for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
    SCOPED_TRACE(t);
    coded.steps.push_back(stream.next());
    const SyntheticStream::Step& step = coded.steps.back();
    StepContext context = step.context();
    context.grid = told;
    const CalibratedFrame frame = encoder.encode(step.tensor, context).value();
    context.grid = {};  // decoders need it not
    const Tensor decoded = decoder.decode(frame.frame, context, kGenerous).value();
    const double measured = stream.measured_output_snr_db(step.tensor, decoded);
    EXPECT_NEAR(measured, frame.stats.predicted_output_snr_db, 0.1);
    EXPECT_TRUE(target.frame_bytes > 0 || std::abs(measured - target.output_snr_db) <= 0.3) << measured;
    EXPECT_GE(frame.stats.coded_bits, frame.stats.ideal_index_bits);
    EXPECT_LE(frame.stats.coded_bits, 8.0 * static_cast<double>(frame.frame.size()));
    coded.frames.push_back(frame.frame);
  }
  return coded;
}

}  // namespace pinion::codec::testing
