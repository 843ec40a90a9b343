#include "pinion/cli/generate_table.h"

#include <fmt/core.h>

#include <cmath>

#include "pinion/cli/codec_choice_text.h"
#include "pinion/pipeline/report.h"

namespace pinion::cli {
namespace {

using pipeline::DenoiseTrace;
using pipeline::GenerateResult;
using pipeline::StepReport;
using pipeline::Totals;

std::string bytes_text(std::size_t bytes) {
  if (bytes < 10'000) return fmt::format("{} B", bytes);
  if (bytes < 10'000'000) return fmt::format("{:.1f} kB", static_cast<double>(bytes) / 1e3);
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

// Everything a column of the table needs from one step's hops.
struct Sums {
  double encode_ms = 0, wire_ms = 0, compute_ms = 0, decode_ms = 0;
  std::size_t up = 0, down = 0, between = 0;
};

Sums add_hops(const DenoiseTrace& trace) {
  Sums sums;
  for (const client::HopStats& hop : trace.hops) {
    sums.encode_ms += hop.encode_ms;
    sums.wire_ms += hop.wire_ms;
    sums.compute_ms += hop.compute_ms;
    sums.decode_ms += hop.decode_ms;
    (hop.from == "client" ? sums.up : hop.to == "client" ? sums.down : sums.between) += hop.message_bytes;
  }
  return sums;
}

// "bits/element  SNR  cosine" of a stream over all hops that carried it: total bits, worst quality.
std::string stream_cells(const DenoiseTrace& trace, std::string_view name) {
  std::size_t bytes = 0;
  std::int64_t elements = 0;
  double snr = std::numeric_limits<double>::infinity();
  double cosine = 1;
  for (const client::HopStats& hop : trace.hops) {
    for (const client::StreamStats& stream : hop.streams) {
      if (stream.name != name || stream.frame.elements == 0) continue;
      bytes += stream.frame.frame_bytes;
      elements += stream.frame.elements;
      snr = std::min(snr, stream.frame.snr_db);
      cosine = std::min(cosine, stream.frame.cosine);
    }
  }
  if (elements == 0) return fmt::format("{:>6} {:>6} {:>7}", "-", "-", "-");
  const double bits = 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
  const std::string snr_text = std::isinf(snr) ? "exact" : fmt::format("{:.1f}", snr);
  return fmt::format("{:>6.2f} {:>6} {:>7.5f}", bits, snr_text, cosine);
}

std::string header() {
  return fmt::format("{:>4} {:>6} {:>8} {:>7} {:>7} {:>8} {:>7} {:>9} {:>9}  {:<21}  {:<21}\n", "step",
                     "sigma", "local ms", "enc ms", "wire ms", "far ms", "dec ms", "up", "down",
                     " image: bit/el dB cos", " text: bit/el dB cos");
}

std::string row(const StepReport& step) {
  const Sums sums = add_hops(step.trace);
  return fmt::format("{:>4} {:>6.4f} {:>8.1f} {:>7.2f} {:>7.2f} {:>8.1f} {:>7.2f} {:>9} {:>9}  {}  {}\n",
                     step.step, step.sigma, step.trace.local_ms, sums.encode_ms, sums.wire_ms,
                     sums.compute_ms, sums.decode_ms, bytes_text(sums.up + sums.between),
                     bytes_text(sums.down), stream_cells(step.trace, "image"),
                     stream_cells(step.trace, "text"));
}

std::string placement_text(const GenerateResult& result) {
  if (result.placement.is_local()) return "all blocks here";
  std::string text =
      result.placement.local.size() == 0
          ? "client: no blocks"
          : fmt::format("client: blocks {}-{}", result.placement.local.begin, result.placement.local.end - 1);
  for (std::size_t i = 0; i < result.placement.remote.size(); ++i) {
    const std::string worker = i < result.workers.size() ? result.workers[i].worker : "worker";
    text += fmt::format(", {}: blocks {}-{}", worker, result.placement.remote[i].begin,
                        result.placement.remote[i].end - 1);
  }
  return text;
}

std::string comparison_text(const pipeline::Comparison& comparison) {
  std::string text;
  for (std::size_t i = 0; i < comparison.pictures.size(); ++i) {
    const pipeline::PictureDifference& picture = comparison.pictures[i];
    text += comparison.latents_identical
                ? "against the unsplit run: identical, bit for bit\n"
                : fmt::format("against the unsplit run: PSNR {:.2f} dB, largest error {} of 255\n",
                              picture.psnr_db, picture.max_error);
  }
  return text;
}

}  // namespace

std::string generate_table(const GenerateResult& result) {
  std::string text = placement_text(result) + "\n";
  if (result.codec_choice) text += codec_choice_text(*result.codec_choice);
  text += header();
  for (const StepReport& step : result.steps) text += row(step);
  const Totals totals = pipeline::sum_up(result);
  text += fmt::format(
      "connect {:.0f} ms, text {:.0f} ms, load {:.0f} ms, denoise {:.0f} ms, decode {:.0f} ms, all {:.2f} "
      "s\n",
      result.connect_ms, result.text_ms, result.load_ms, totals.denoise_ms, result.decode_ms,
      result.total_ms / 1000);
  if (!result.placement.is_local()) {
    text += fmt::format("wire: up {}, between workers {}, down {}", bytes_text(totals.bytes_up),
                        bytes_text(totals.bytes_between), bytes_text(totals.bytes_down));
    if (totals.basis_bytes > 0)
      text += fmt::format(" (of which bases, sent once: {})", bytes_text(totals.basis_bytes));
    if (totals.state_elements > 0) {
      text += fmt::format("; states {:.2f} bit/element with codec {}", totals.state_bits_per_element(),
                          codec::to_string(result.request.split.codec));
    }
    text += "\n";
  }
  if (result.comparison) text += comparison_text(*result.comparison);
  return text;
}

}  // namespace pinion::cli
