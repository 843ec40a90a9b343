#include "pinion/cli/codec_info.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pinion/codec/calibrated/calibration_set.h"
#include "pinion/codec/container.h"
#include "pinion/codec/frame_format.h"

namespace pinion::cli {
namespace {

nlohmann::ordered_json to_json(const codec::ContainerFrame& frame, const codec::FrameInfo& info) {
  const bool is_calibrated = info.mode == codec::Mode::kCalibrated;
  return {{"name", frame.name},
          {"mode", codec::name(info.mode)},
          {"dtype", name(info.dtype)},
          {"shape", info.shape.extents()},
          {"frame_bytes", info.frame_bytes},
          {"stream", frame.stream},
          {"key_frame", info.key_frame},
          {"step_size", info.step_size},
          {"output_snr_db", is_calibrated ? nlohmann::json(info.output_snr_db) : nlohmann::json()},
          {"basis", info.basis_hash}};
}

std::string to_line(const codec::ContainerFrame& frame, const codec::FrameInfo& info) {
  const bool is_calibrated = info.mode == codec::Mode::kCalibrated;
  return fmt::format("{:<32} {:>10} {:<8} {:<18} {:>10} {:>6} {:>5} {:>12.5g} {:>7}  {}\n", frame.name,
                     codec::name(info.mode), name(info.dtype), to_string(info.shape), info.frame_bytes,
                     frame.stream, info.key_frame ? "yes" : "no", info.step_size,
                     is_calibrated ? fmt::format("{:.2f}", info.output_snr_db) : "", info.basis_hash);
}

nlohmann::ordered_json to_json(const codec::Calibration& calibration, std::size_t bytes) {
  nlohmann::ordered_json sigmas = nlohmann::ordered_json::array();
  for (const codec::CalibrationRecord& record : calibration.records) sigmas.push_back(record.sigma);
  return {{"cut", calibration.key.cut},
          {"stream", calibration.key.stream},
          {"channels", calibration.channels()},
          {"components", calibration.components()},
          {"latent_channels", calibration.latents()},
          {"has_response", calibration.has_response},
          {"sigmas", sigmas},
          {"model_hash", to_hex(calibration.key.model)},
          {"bytes", bytes},
          {"hash", codec::calibration_id(calibration)}};
}

std::string to_line(const codec::Calibration& calibration, std::size_t bytes) {
  return fmt::format("calibration {}: cut {} {}, {} of {} components, {} steps{}, model {}, {} bytes\n",
                     codec::calibration_id(calibration), calibration.key.cut, calibration.key.stream,
                     calibration.components(), calibration.channels(), calibration.records.size(),
                     calibration.has_response ? ", corrected by the sender" : "",
                     to_hex(calibration.key.model).substr(0, 12), bytes);
}

}  // namespace

codec::DecodeLimits file_limits(const MappedFile& file) {
  constexpr std::size_t kLargestRatio = 4096;
  constexpr std::size_t kAlwaysAccepted = std::size_t{1} << 30;
  return {.max_tensor_bytes = std::max(kAlwaysAccepted, file.bytes().size() * kLargestRatio)};
}

Result<std::string> describe_file(const std::filesystem::path& in, bool json) {
  PINION_TRY(const auto file, MappedFile::open(in));
  auto container = codec::parse_container(file->bytes());
  if (!container.ok()) return std::move(container).error().in(in.string());
  nlohmann::ordered_json object{{"frames", nlohmann::json::array()},
                                {"bases", nlohmann::json::array()},
                                {"calibrations", nlohmann::json::array()}};
  std::string table;
  if (!container->frames.empty()) {
    table += fmt::format("{:<32} {:>10} {:<8} {:<18} {:>10} {:>6} {:>5} {:>12} {:>7}  {}\n", "tensor", "mode",
                         "dtype", "shape", "bytes", "stream", "key", "step", "out dB", "basis");
  }
  for (const codec::ContainerFrame& frame : container->frames) {
    auto info = codec::inspect(frame.frame, file_limits(*file));
    if (!info.ok()) return std::move(info).error().in(in.string() + ": " + frame.name);
    table += to_line(frame, *info);
    object["frames"].push_back(to_json(frame, *info));
  }
  for (const ByteSpan basis : container->bases) {
    table += fmt::format("basis {}: {} bytes\n", codec::basis_hash(basis), basis.size());
    object["bases"].push_back({{"hash", codec::basis_hash(basis)}, {"bytes", basis.size()}});
  }
  for (const ByteSpan asset : container->calibrations) {
    auto calibration = codec::parse_calibration(asset);
    if (!calibration.ok()) return std::move(calibration).error().in(in.string());
    table += to_line(**calibration, asset.size());
    object["calibrations"].push_back(to_json(**calibration, asset.size()));
  }
  return json ? object.dump(2) + "\n" : table;
}

}  // namespace pinion::cli
