// codec_vs_planes [--profile P] [--mid-cut CUT] [--require R] [--json] FILE.safetensors...
//
// Pinion's codec beside 8-bit planes through x265, on the same states and at the same centred cosine. The
// cosine is measured here, for both, on what the receiver gets: each tensor minus its own mean per channel
// over the rows, then one cosine over all elements. Bytes are whole frames against whole access units with
// their ranges.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "bench/planes_rate.h"
#include "bench/state_streams.h"
#include "pinion/base/float_formats.h"
#include "pinion/codec/codec.h"

namespace pinion::bench {
namespace {

struct Request {
  std::vector<std::string> files;
  std::string profile = "cos:.995";
  std::string mid_cut = "cut3";
  double required_ratio = 0;
  bool json = false;
};

// Sizes in bits per element; NaN where the ladder of QPs does not reach the cosine.
struct Row {
  std::string file, cut, rows;
  std::size_t step = 0;
  double elements = 0;
  double cosine = 0;
  double ours = 0;
  double basis = 0;   // the bases of the whole stream, spread evenly over its steps
  double planes = 0;  // each step an encode of its own, least padding
  double seed = 0;    // the same, padded as for hardware encoders
  double video = 0;   // all steps one encode, least padding
};

struct CodedStep {
  double frame_bytes = 0;
  double basis_bytes = 0;
  double cosine = 0;
};

Result<std::vector<CodedStep>> run_codec(const StateStream& stream, const codec::Profile& profile) {
  PINION_TRY(const std::unique_ptr<codec::Encoder> encoder, codec::Encoder::create(profile));
  const std::unique_ptr<codec::Decoder> decoder = codec::Decoder::create();
  std::vector<CodedStep> coded;
  for (const Tensor& tensor : stream.steps) {
    PINION_TRY(const codec::EncodedFrame sent, encoder->encode(tensor));
    const auto channels = static_cast<std::size_t>(tensor.shape()[1]);
    if (!sent.basis.empty()) {
      PINION_TRY_VOID(decoder->add_basis(sent.basis, codec::BasisLimits::for_channels(channels)));
    }
    PINION_TRY(const Tensor received, decoder->decode(sent.frame, {.max_tensor_bytes = tensor.bytes()}));
    coded.push_back({static_cast<double>(sent.frame.size()), static_cast<double>(sent.basis.size()),
                     centred_cosine(floats_of(tensor), floats_of(received), channels)});
  }
  return coded;
}

Result<std::vector<Row>> compare(const StateStream& stream, const codec::Profile& profile) {
  PINION_TRY(const std::vector<CodedStep> coded, run_codec(stream, profile));
  const std::vector<Tensor>& steps = stream.steps;
  codec::RangePacking packing{.grid = stream.grid, .padding = codec::PlanePadding::kLean};
  PINION_TRY(const PlanesRate planes, PlanesRate::measure(steps, packing, PlanePrediction::kWithinStep));
  PINION_TRY(const PlanesRate video, PlanesRate::measure(steps, packing, PlanePrediction::kAcrossSteps));
  packing.padding = codec::PlanePadding::kHardware;
  PINION_TRY(const PlanesRate seed, PlanesRate::measure(steps, packing, PlanePrediction::kWithinStep));
  double basis_bytes = 0;
  for (const CodedStep& step : coded) basis_bytes += step.basis_bytes;
  const auto elements = static_cast<double>(stream.steps.front().elements());
  constexpr double kUnreached = std::numeric_limits<double>::quiet_NaN();
  std::vector<Row> rows;
  for (std::size_t s = 0; s < coded.size(); ++s) {
    const double cosine = coded[s].cosine;
    rows.push_back({.file = stream.file,
                    .cut = stream.cut,
                    .rows = stream.rows,
                    .step = s,
                    .elements = elements,
                    .cosine = cosine,
                    .ours = coded[s].frame_bytes * 8 / elements,
                    .basis = basis_bytes * 8 / elements / static_cast<double>(coded.size()),
                    .planes = planes.bytes_at(s, cosine).value_or(kUnreached) * 8 / elements,
                    .seed = seed.bytes_at(s, cosine).value_or(kUnreached) * 8 / elements,
                    .video = video.bytes_at(s, cosine).value_or(kUnreached) * 8 / elements});
  }
  return rows;
}

// Sums over rows, so that a ratio is one of all bytes and no single cheap step carries it.
struct Totals {
  double ours = 0, basis = 0, planes = 0, seed = 0, video = 0;
  double least_cosine = 1;

  void add(const Row& row) {
    ours += row.ours * row.elements;
    basis += row.basis * row.elements;
    planes += row.planes * row.elements;
    seed += row.seed * row.elements;
    video += row.video * row.elements;
    least_cosine = std::min(least_cosine, row.cosine);
  }
  double ratio() const { return planes / ours; }
  double ratio_with_basis() const { return planes / (ours + basis); }
  double seed_ratio() const { return seed / ours; }
  double video_ratio() const { return video / ours; }
};

Totals mid_network_totals(const std::vector<Row>& rows, const std::string& mid_cut) {
  Totals totals;
  for (const Row& row : rows) {
    if (row.cut == mid_cut && row.rows == "image" && row.step > 0) totals.add(row);
  }
  return totals;
}

void print_table(const std::vector<Row>& rows, const Totals& totals, const Request& request) {
  fmt::print(
      "Profile {}; bits per element. basis: bases of the stream over its steps. planes: x265, each step "
      "alone, least "
      "padding;\nseed: the same, padded as for hardware encoders; video: all steps in one encode. Ratios are "
      "to "
      "frames.\n\n",
      request.profile);
  fmt::print("{:<18} {:<5} {:<6} {:>4} {:>8} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8} {:>7} {:>7}\n", "file",
             "cut", "rows", "step", "cosine", "frames", "basis", "planes", "seed", "video", "planes/",
             "seed/", "video/");
  for (const Row& row : rows) {
    Totals one;
    one.add(row);
    fmt::print(
        "{:<18} {:<5} {:<6} {:>4} {:>8.5f} {:>7.3f} {:>7.3f} {:>7.3f} {:>7.3f} {:>7.3f} {:>8.2f} {:>7.2f} "
        "{:>7.2f}\n",
        row.file, row.cut, row.rows, row.step, row.cosine, row.ours, row.basis, row.planes, row.seed,
        row.video, one.ratio(), one.seed_ratio(), one.video_ratio());
  }
  fmt::print(
      "\n{} image rows from the second step on, all bytes together, against frames: planes {:.2f} x ({:.2f} "
      "x with "
      "bases),\nseed {:.2f} x, video {:.2f} x; least cosine {:.5f}\n",
      request.mid_cut, totals.ratio(), totals.ratio_with_basis(), totals.seed_ratio(), totals.video_ratio(),
      totals.least_cosine);
}

void print_json(const std::vector<Row>& rows, const Totals& totals, const Request& request) {
  nlohmann::json list = nlohmann::json::array();
  for (const Row& row : rows) {
    list.push_back({{"file", row.file},
                    {"cut", row.cut},
                    {"rows", row.rows},
                    {"step", row.step},
                    {"cosine", row.cosine},
                    {"frame_bits_per_element", row.ours},
                    {"basis_bits_per_element", row.basis},
                    {"planes_bits_per_element", row.planes},
                    {"seed_bits_per_element", row.seed},
                    {"video_bits_per_element", row.video}});
  }
  const nlohmann::json out{{"profile", request.profile},
                           {"mid_cut", request.mid_cut},
                           {"ratio", totals.ratio()},
                           {"ratio_with_basis", totals.ratio_with_basis()},
                           {"seed_ratio", totals.seed_ratio()},
                           {"video_ratio", totals.video_ratio()},
                           {"least_cosine", totals.least_cosine},
                           {"steps", list}};
  fmt::print("{}\n", out.dump(2));
}

// True if the required ratio was reached (or none was required).
Result<bool> run(const Request& request) {
  PINION_TRY(const codec::Profile profile, codec::parse_profile(request.profile));
  std::vector<Row> rows;
  for (const std::string& file : request.files) {
    PINION_TRY(const std::vector<StateStream> streams, load_state_streams(file));
    for (const StateStream& stream : streams) {
      PINION_TRY(const std::vector<Row> part, compare(stream, profile));
      rows.insert(rows.end(), part.begin(), part.end());
    }
  }
  const Totals totals = mid_network_totals(rows, request.mid_cut);
  request.json ? print_json(rows, totals, request) : print_table(rows, totals, request);
  return request.required_ratio <= 0 || totals.ratio() >= request.required_ratio;
}

}  // namespace
}  // namespace pinion::bench

int main(int argc, char** argv) {
  const std::string states = std::string(PINION_SOURCE_DIR) + "/tests/data/states/";
  pinion::bench::Request request{
      {states + "dots_and_star.safetensors", states + "three_on_speckles.safetensors"}};
  CLI::App app("Pinion's codec beside 8-bit planes through x265, at equal centred cosine");
  app.add_option("files", request.files, "Captured states; the committed ones if none are named");
  app.add_option("--profile", request.profile, "A fidelity profile, such as cos:.995")->capture_default_str();
  app.add_option("--mid-cut", request.mid_cut, "The cut of the summary")->capture_default_str();
  app.add_option("--require", request.required_ratio, "Fail unless planes are this many times as large");
  app.add_flag("--json", request.json, "For programs");
  CLI11_PARSE(app, argc, argv);
  const pinion::Result<bool> reached = pinion::bench::run(request);
  if (!reached.ok()) {
    fmt::print(stderr, "error: {}\n", reached.error().message());
    return 2;
  }
  if (!*reached)
    fmt::print(stderr, "error: the summary misses the required ratio of {}\n", request.required_ratio);
  return *reached ? 0 : 1;
}
