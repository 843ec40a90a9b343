#include "pinion/cli/codec_bench.h"

#include <fmt/core.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "pinion/codec/frame_format.h"
#include "pinion/codec/tensor_error.h"

namespace pinion::cli {
namespace {

double bits_per_element(const codec::FrameStats& stats) {
  return stats.elements == 0
             ? 0
             : 8.0 * static_cast<double>(stats.frame_bytes) / static_cast<double>(stats.elements);
}

// Encoders of some modes do not measure, or take long to; what arrived says it for all alike.
void measure_errors(const Tensor& tensor, const Tensor& decoded, codec::FrameStats& stats) {
  codec::FrameStats measured;
  measured.snr_db = std::numeric_limits<double>::infinity();
  measured.cosine = 1;
  if (is_float(tensor.dtype()) && tensor.elements() > 0) measured = codec::measure(tensor, decoded);
  stats.snr_db = measured.snr_db;
  stats.cosine = measured.cosine;
  stats.max_error = measured.max_error;
}

Result<CodecBenchRow> bench_step(const CodecInput::Step& step, const codec::Profile& profile, Device device,
                                 SendingEnd& sender, ReceivingEnd& receiver) {
  CodecBenchRow row{
      step.name, profile, step.tensor.dtype(), step.tensor.shape(), step.made_finite, device, {}, 0, 0};
  PINION_TRY(const SendingEnd::Sent sent, sender.encode(step.tensor, step.context));
  const codec::EncodedFrame& encoded = sent.encoded;
  row.encode_ms = sent.ms;
  row.stats = encoded.stats;
  if (!encoded.basis.empty()) {
    const auto channels = static_cast<std::size_t>(codec::channels_of(row.shape));
    PINION_TRY_VOID(receiver.add_basis(encoded.basis, codec::BasisLimits::for_channels(channels)));
  }
  PINION_TRY(const ReceivingEnd::Received received,
             receiver.decode(encoded.frame, step.context, {.max_tensor_bytes = step.tensor.bytes()}));
  row.decode_ms = received.ms;
  measure_errors(step.tensor, received.tensor, row.stats);
  return row;
}

Result<void> bench_stream(CodecInput& input, const TensorStream& stream, const codec::Profile& profile,
                          Device device, std::vector<CodecBenchRow>& rows) {
  PINION_TRY(const auto sender, input.sender(stream, profile));
  PINION_TRY(const auto receiver, input.receiver(stream, profile));
  for (std::size_t i = 0; i < stream.tensors.size(); ++i) {
    PINION_TRY(const CodecInput::Step step, input.step(stream, i, profile));
    auto row = bench_step(step, profile, device, *sender, *receiver);
    if (!row.ok()) return input.in_tensor(std::move(row).error(), step.name);
    rows.push_back(std::move(row).value());
  }
  return {};
}

// What a mode came to.
struct BenchTotal {
  std::string mode;
  Device device;
  std::size_t frame_bytes = 0, basis_bytes = 0, tensor_bytes = 0;
  std::int64_t elements = 0, made_finite = 0;
  double encode_ms = 0, decode_ms = 0;
};

std::vector<BenchTotal> totals_of(const std::vector<CodecBenchRow>& rows) {
  std::vector<BenchTotal> totals;  // rows come mode by mode
  for (const CodecBenchRow& row : rows) {
    const std::string mode = codec::to_string(row.profile);
    if (totals.empty() || totals.back().mode != mode) totals.push_back({.mode = mode, .device = row.device});
    BenchTotal& total = totals.back();
    total.frame_bytes += row.stats.frame_bytes;
    total.basis_bytes += row.stats.basis_bytes;
    total.tensor_bytes += row.stats.tensor_bytes;
    total.elements += row.stats.elements;
    total.made_finite += row.made_finite;
    total.encode_ms += row.encode_ms;
    total.decode_ms += row.decode_ms;
  }
  return totals;
}

bool is_calibrated(const CodecBenchRow& row) { return row.profile.mode == codec::Mode::kCalibrated; }

}  // namespace

Result<std::vector<CodecBenchRow>> bench_codec(const CodecBenchRequest& request) {
  PINION_TRY_VOID(check_codec_device(request.input.device, request.profiles));
  PINION_TRY_VOID(check_calibration_given(request.profiles, request.input.calibration));
  PINION_TRY(CodecInput input, CodecInput::open(request.input));
  std::vector<CodecBenchRow> rows;
  for (const codec::Profile& profile : request.profiles) {
    for (const TensorStream& stream : input.streams()) {
      PINION_TRY_VOID(bench_stream(input, stream, profile, request.input.device, rows));
    }
  }
  return rows;
}

std::string bench_table(const std::vector<CodecBenchRow>& rows) {
  std::string table =
      fmt::format("{:<24} {:<16} {:<8} {:<16} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}\n",
                  "tensor", "mode", "dtype", "shape", "bytes", "basis", "bit/elem", "out dB", "SNR dB",
                  "cosine", "max err", "enc ms", "dec ms");
  for (const CodecBenchRow& row : rows) {
    table += fmt::format(
        "{:<24} {:<16} {:<8} {:<16} {:>9} {:>8} {:>8.3f} {:>8} {:>8.2f} {:>9.6f} {:>9.3g} {:>9.2f} "
        "{:>9.2f}\n",
        row.tensor, codec::to_string(row.profile), name(row.dtype), to_string(row.shape),
        row.stats.frame_bytes, row.stats.basis_bytes, bits_per_element(row.stats),
        is_calibrated(row) ? fmt::format("{:.2f}", row.stats.output_snr_db) : "", row.stats.snr_db,
        row.stats.cosine, row.stats.max_error, row.encode_ms, row.decode_ms);
  }
  const std::vector<BenchTotal> totals = totals_of(rows);
  for (const BenchTotal& total : totals) {
    if (total.frame_bytes == 0 || total.elements == 0) continue;
    const auto bytes = static_cast<double>(total.frame_bytes);
    table += fmt::format(
        "{}{}: {} bytes of frames, {:.3f} bits an element, {:.2f}x smaller; {} bytes of bases; {:.1f} ms "
        "encoding, {:.1f} ms decoding\n",
        total.mode, total.device.is_cpu() ? "" : " on " + name(total.device), total.frame_bytes,
        8 * bytes / static_cast<double>(total.elements), static_cast<double>(total.tensor_bytes) / bytes,
        total.basis_bytes, total.encode_ms, total.decode_ms);
  }
  if (!totals.empty() && totals.front().made_finite > 0) {
    table += fmt::format("not finite and changed: {} elements\n", totals.front().made_finite);
  }
  return table;
}

std::string bench_json(const std::vector<CodecBenchRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const CodecBenchRow& row : rows) {
    // JSON has no infinity: an exact result has no SNR.
    const nlohmann::json snr =
        std::isfinite(row.stats.snr_db) ? nlohmann::json(row.stats.snr_db) : nlohmann::json();
    const nlohmann::json output_snr =
        is_calibrated(row) ? nlohmann::json(row.stats.output_snr_db) : nlohmann::json();
    list.push_back({{"tensor", row.tensor},
                    {"mode", codec::to_string(row.profile)},
                    {"device", name(row.device)},
                    {"dtype", name(row.dtype)},
                    {"shape", row.shape.extents()},
                    {"made_finite", row.made_finite},
                    {"tensor_bytes", row.stats.tensor_bytes},
                    {"frame_bytes", row.stats.frame_bytes},
                    {"basis_bytes", row.stats.basis_bytes},
                    {"bits_per_element", bits_per_element(row.stats)},
                    {"ideal_index_bits", row.stats.ideal_index_bits},
                    {"key_frame", row.stats.key_frame},
                    {"output_snr_db", output_snr},
                    {"snr_db", snr},
                    {"cosine", row.stats.cosine},
                    {"max_error", row.stats.max_error},
                    {"encode_ms", row.encode_ms},
                    {"decode_ms", row.decode_ms}});
  }
  return list.dump(2) + "\n";
}

}  // namespace pinion::cli
