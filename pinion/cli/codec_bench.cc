#include "pinion/cli/codec_bench.h"

#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "pinion/base/stopwatch.h"
#include "pinion/cli/codec_sequence.h"
#include "pinion/codec/frame_format.h"

namespace pinion::cli {
namespace {

double bits_per_element(const codec::FrameStats& stats) {
  return stats.elements == 0
             ? 0
             : 8.0 * static_cast<double>(stats.frame_bytes) / static_cast<double>(stats.elements);
}

Result<void> bench_stream(const SafetensorsFile& file, const TensorStream& stream,
                          const codec::Profile& profile, std::vector<CodecBenchRow>& rows) {
  PINION_TRY(const auto encoder, codec::Encoder::create(profile));
  const auto decoder = codec::Decoder::create();
  for (const SafetensorsEntry* entry : stream.tensors) {
    const Tensor tensor = file.tensor(*entry);
    const auto named = [&](Error error) {
      return std::move(error).in(file.path().string() + ": " + entry->name);
    };
    CodecBenchRow row{entry->name, codec::to_string(profile), entry->dtype, entry->shape, {}, 0, 0};
    Stopwatch watch;
    auto encoded = encoder->encode(tensor);
    if (!encoded.ok()) return named(std::move(encoded).error());
    row.encode_ms = watch.lap_ms();
    row.stats = encoded->stats;
    if (!encoded->basis.empty()) {
      const auto bases =
          codec::BasisLimits::for_channels(static_cast<std::size_t>(codec::channels_of(tensor.shape())));
      if (auto added = decoder->add_basis(encoded->basis, bases); !added.ok())
        return named(std::move(added).error());
    }
    auto decoded = decoder->decode(encoded->frame, {.max_tensor_bytes = tensor.bytes()});
    row.decode_ms = watch.lap_ms();
    if (!decoded.ok()) return named(std::move(decoded).error());
    rows.push_back(std::move(row));
  }
  return {};
}

}  // namespace

Result<std::vector<CodecBenchRow>> bench_codec(const CodecBenchRequest& request) {
  PINION_TRY(const SafetensorsFile file, SafetensorsFile::open(request.in));
  std::vector<CodecBenchRow> rows;
  for (const codec::Profile& profile : request.profiles) {
    for (const TensorStream& stream : group_streams(file, request.sequences)) {
      PINION_TRY_VOID(bench_stream(file, stream, profile, rows));
    }
  }
  return rows;
}

std::string bench_table(const std::vector<CodecBenchRow>& rows) {
  std::string table = fmt::format(
      "{:<24} {:<16} {:<8} {:<16} {:>9} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}\n", "tensor", "mode",
      "dtype", "shape", "bytes", "basis", "bit/elem", "SNR dB", "cosine", "max err", "enc ms", "dec ms");
  std::size_t bytes = 0, basis_bytes = 0, tensor_bytes = 0;
  for (const CodecBenchRow& row : rows) {
    table += fmt::format(
        "{:<24} {:<16} {:<8} {:<16} {:>9} {:>8} {:>8.3f} {:>8.2f} {:>9.6f} {:>9.3g} {:>9.2f} {:>9.2f}\n",
        row.tensor, row.mode, name(row.dtype), to_string(row.shape), row.stats.frame_bytes,
        row.stats.basis_bytes, bits_per_element(row.stats), row.stats.snr_db, row.stats.cosine,
        row.stats.max_error, row.encode_ms, row.decode_ms);
    bytes += row.stats.frame_bytes;
    basis_bytes += row.stats.basis_bytes;
    tensor_bytes += row.stats.tensor_bytes;
  }
  if (bytes > 0) {
    table += fmt::format("total: {} bytes of frames ({:.2f}x smaller), {} bytes of bases\n", bytes,
                         static_cast<double>(tensor_bytes) / static_cast<double>(bytes), basis_bytes);
  }
  return table;
}

std::string bench_json(const std::vector<CodecBenchRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const CodecBenchRow& row : rows) {
    // JSON has no infinity: an exact result has no SNR.
    const nlohmann::json snr =
        std::isfinite(row.stats.snr_db) ? nlohmann::json(row.stats.snr_db) : nlohmann::json();
    list.push_back({{"tensor", row.tensor},
                    {"mode", row.mode},
                    {"dtype", name(row.dtype)},
                    {"shape", row.shape.extents()},
                    {"tensor_bytes", row.stats.tensor_bytes},
                    {"frame_bytes", row.stats.frame_bytes},
                    {"basis_bytes", row.stats.basis_bytes},
                    {"bits_per_element", bits_per_element(row.stats)},
                    {"ideal_index_bits", row.stats.ideal_index_bits},
                    {"key_frame", row.stats.key_frame},
                    {"snr_db", snr},
                    {"cosine", row.stats.cosine},
                    {"max_error", row.stats.max_error},
                    {"encode_ms", row.encode_ms},
                    {"decode_ms", row.decode_ms}});
  }
  return list.dump(2) + "\n";
}

}  // namespace pinion::cli
