#include "bench/loop/loop_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace pinion::bench {
namespace {

constexpr std::string_view kYardstick = "planes";

std::string_view name_of(LoopScope scope) { return scope == LoopScope::kImage ? "image" : "whole"; }

// Which bytes of a job are meant.
struct Counted {
  std::string_view label;
  bool with_text = true;
  int jobs = 0;  // over which bases and assets are spread; 0: they do not count
};

// One coder at one setting: means over the prompts.
struct Mean {
  std::string family, setting;
  int count = 0;
  double psnr = 0, least_psnr = INFINITY, output_snr = 0;
  double image = 0, text = 0, back = 0, latents = 0, basis = 0, bits = 0;
  double index_bits = 0, indexed = 0, asset = 0, seconds = 0;

  double bytes(const Counted& counted) const {
    const double once = counted.jobs == 0 ? 0 : (basis + asset) / counted.jobs;
    return image + back + latents + (counted.with_text ? text : 0) + once;
  }

  void add(const LoopResult& result) {
    ++count;
    const auto into = [&](double& mean, double value) { mean += (value - mean) / count; };
    into(psnr, result.psnr_db);
    least_psnr = std::min(least_psnr, result.psnr_db);
    into(output_snr, result.output_snr_db.value_or(0));
    into(image, result.image_bytes);
    into(text, result.text_bytes);
    into(back, result.return_bytes);
    into(latents, result.latents_bytes);
    into(basis, result.basis_bytes);
    into(bits, result.image_bits);
    index_bits += result.index_bits;
    indexed += result.indexed_frame_bytes;
    asset = result.asset_bytes;
    seconds += (result.model_ms + result.coding_ms) / 1000;
  }
};

using Means = std::vector<Mean>;  // in the order in which they ran

std::map<std::pair<LoopScope, int>, Means> means_of(const std::vector<LoopResult>& results) {
  std::map<std::pair<LoopScope, int>, Means> tables;
  for (const LoopResult& result : results) {
    Means& table = tables[{result.scope, result.cut}];
    auto mean = std::ranges::find_if(table, [&](const Mean& other) {
      return other.family == result.family && other.setting == result.setting;
    });
    if (mean == table.end()) {
      table.push_back({});
      mean = std::prev(table.end());
      mean->family = result.family;
      mean->setting = result.setting;
    }
    mean->add(result);
  }
  return tables;
}

// Empty unless two settings lie on both sides.
std::optional<double> bytes_at(const Means& table, const std::string& family, double psnr,
                               const Counted& counted) {
  std::vector<std::pair<double, double>> points;
  for (const Mean& mean : table) {
    if (mean.family == family) points.emplace_back(mean.psnr, mean.bytes(counted));
  }
  std::sort(points.begin(), points.end());
  for (std::size_t i = 1; i < points.size(); ++i) {
    const auto [low, low_bytes] = points[i - 1];
    const auto [high, high_bytes] = points[i];
    if (psnr < low || psnr > high || !(high > low)) continue;
    const double part = (psnr - low) / (high - low);
    return std::exp(std::log(low_bytes) + part * (std::log(high_bytes) - std::log(low_bytes)));
  }
  return std::nullopt;
}

void print_settings(const Means& table) {
  fmt::print("{:<18} {:>7} {:>7} {:>8} {:>9} {:>10} {:>10} {:>10} {:>9} {:>9} {:>10} {:>8} {:>7}\n", "coder",
             "PSNR", "worst", "out SNR", "image b/e", "image B", "text B", "return B", "latents B", "bases B",
             "assets B", "B/index", "s");
  for (const Mean& m : table) {
    const std::string name = m.setting.empty() ? m.family : m.family + ":" + m.setting;
    const std::string indices = m.index_bits > 0 ? fmt::format("{:.3f}", 8 * m.indexed / m.index_bits) : "-";
    const std::string output = m.output_snr > 0 ? fmt::format("{:.1f}", m.output_snr) : "-";
    fmt::print(
        "{:<18} {:>7.2f} {:>7.2f} {:>8} {:>9.3f} {:>10.0f} {:>10.0f} {:>10.0f} {:>9.0f} {:>9.0f} {:>10.0f} "
        "{:>8} {:>7.1f}\n",
        name, m.psnr, m.least_psnr, output, m.bits, m.image, m.text, m.back, m.latents, m.basis, m.asset,
        indices, m.seconds);
  }
}

void print_ratios(const Means& table, const std::vector<double>& psnrs, const Counted& counted) {
  std::vector<std::string> families;
  for (const Mean& mean : table) {
    if (std::ranges::find(families, mean.family) == families.end()) families.push_back(mean.family);
  }
  for (const double psnr : psnrs) {
    const std::optional<double> yardstick = bytes_at(table, std::string(kYardstick), psnr, counted);
    fmt::print("at {:.1f} dB{}:", psnr, counted.label);
    for (const std::string& family : families) {
      const std::optional<double> bytes = bytes_at(table, family, psnr, counted);
      if (!bytes) continue;
      fmt::print("  {} {:.0f} B", family, *bytes);
      if (yardstick && family != kYardstick) fmt::print(" (1/{:.2f})", *yardstick / *bytes);
    }
    fmt::print("\n");
  }
}

}  // namespace

std::string to_json(const LoopResult& result, const LoopConditions& conditions) {
  nlohmann::json line{{"coder", result.family},
                      {"setting", result.setting},
                      {"cut", result.cut},
                      {"scope", name_of(result.scope)},
                      {"prompt", result.prompt},
                      {"psnr_db", result.psnr_db},
                      {"image_bytes", result.image_bytes},
                      {"text_bytes", result.text_bytes},
                      {"return_bytes", result.return_bytes},
                      {"latents_bytes", result.latents_bytes},
                      {"basis_bytes", result.basis_bytes},
                      {"image_bits_per_element", result.image_bits},
                      {"index_bits", result.index_bits},
                      {"indexed_frame_bytes", result.indexed_frame_bytes},
                      {"image_asset_bytes", result.image_asset_bytes},
                      {"asset_bytes", result.asset_bytes},
                      {"model_ms", result.model_ms},
                      {"coding_ms", result.coding_ms},
                      {"model", conditions.model},
                      {"sampler", conditions.sampler},
                      {"device", conditions.device},
                      {"dtype", conditions.dtype},
                      {"steps", conditions.steps},
                      {"evaluations", conditions.evaluations},
                      {"side", conditions.side},
                      {"batch", conditions.batch},
                      {"sigma_shift", conditions.sigma_shift},
                      {"lora_shift", conditions.lora_shift}};
  if (result.output_snr_db) line["output_snr_db"] = *result.output_snr_db;
  return line.dump();
}

void print_tables(const std::vector<LoopResult>& results, const std::vector<double>& psnrs) {
  for (const auto& [place, table] : means_of(results)) {
    const auto& [scope, cut] = place;
    fmt::print("\ncut {}, {}; bytes of a job, mean of {} prompts\n", cut,
               scope == LoopScope::kImage ? "image rows coded, all else exact" : "all that is sent coded",
               table.front().count);
    print_settings(table);
    print_ratios(table, psnrs, {""});
    if (scope == LoopScope::kWhole) print_ratios(table, psnrs, {", without text rows", false});
    print_ratios(table, psnrs, {", with bases and assets over 1 job", true, 1});
    print_ratios(table, psnrs, {", over 10 jobs", true, 10});
    print_ratios(table, psnrs, {", over 100 jobs", true, 100});
  }
}

}  // namespace pinion::bench
