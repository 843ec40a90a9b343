#include "bench/device_fidelity_bench.h"

#include <cmath>
#include <random>

#include "pinion/codec/cuda/device_codec.h"
#include "pinion/codec/fidelity/basis.h"
#include "pinion/codec/fidelity/fidelity_format.h"

namespace pinion::bench {
namespace {

constexpr std::size_t kRows = 4608, kComponents = 1024;
constexpr double kLargestSpread = 60, kFalls = 0.75;  // of components, in steps: the first one's; the power

// The scale of the table whose numbers are as large as these, about.
std::uint8_t scale_for(std::span<const std::int32_t> values, const codec::Shapes& shapes,
                       codec::IndexTables& tables) {
  double mean = 0;
  for (const std::int32_t value : values) mean += std::abs(value);
  mean /= static_cast<double>(values.size());
  if (mean == 0) return 0;
  int scale = 1;
  for (; scale < codec::max_scale(shapes.wide); ++scale) {
    const codec::ClassCode code = tables.get(shapes.at(scale));
    if (static_cast<double>(code.table->mean_size) * (1 << code.shift) >= mean) break;
  }
  return static_cast<std::uint8_t>(scale);
}

struct Made {
  Bytes basis, frame;
};

// `chunks`: 0 for as many as the CPU's encoder would make.
Made make(std::int64_t channels, std::size_t chunks) {
  std::mt19937 dice(7);
  std::normal_distribution<float> normal;
  Made made;
  codec::Matrix directions(kComponents, static_cast<std::size_t>(channels));
  const float size = 1 / std::sqrt(static_cast<float>(channels));
  for (float& value : directions.values) value = normal(dice) * size;
  made.basis = codec::encode_basis(directions, std::vector<double>(kComponents, 1.0 / 4096));

  codec::FidelityParams params;
  params.step = 0.25f;
  params.mean_class = {};
  params.components.shapes = {3, 3};
  codec::IndexTables tables;
  std::vector<std::int32_t> values(kComponents * kRows), means(static_cast<std::size_t>(channels));
  for (std::size_t k = 0; k < kComponents; ++k) {
    const double spread = kLargestSpread * std::pow(static_cast<double>(k + 1), -kFalls);
    const std::span own = std::span(values).subspan(k * kRows, kRows);
    for (std::int32_t& value : own) value = static_cast<std::int32_t>(std::lround(normal(dice) * spread));
    params.components.scales.push_back(scale_for(own, params.components.shapes, tables));
  }
  const std::array<std::size_t, 1> ends{kRows};
  codec::IndexMatrix matrix{.params = params.components, .band_ends = ends, .values = values};
  matrix.lead = means;
  constexpr double kUsualBits = 1.7;  // of an index
  codec::ChunkGrid grid =
      codec::choose_grid(params.components, kRows, kUsualBits * static_cast<double>(values.size()));
  if (chunks != 0) grid = {32, kRows, (kComponents - 1) / chunks + 1};
  ByteWriter body;
  codec::write_fidelity_params(body, params, nullptr);
  codec::ChunkPool pool(1);
  codec::write_index_chunks(body, grid, matrix, tables, pool);
  made.frame = codec::write_frame(
      {codec::Mode::kFidelity, DType::kBF16, Shape{static_cast<std::int64_t>(kRows), channels},
       codec::basis_id(made.basis), std::nullopt},
      body.view());
  return made;
}

}  // namespace

bool run_fidelity_decoding(std::int64_t channels, const Setting& setting, cudaStream_t stream) {
  const std::size_t bytes = 2 * kRows * static_cast<std::size_t>(channels);
  for (const std::size_t chunks : {std::size_t{0}, std::size_t{512}}) {
    const Made made = make(channels, chunks);
    auto decoder = codec::DeviceDecoder::create({.max_tensor_bytes = bytes});
    if (!is_fine(decoder)) return false;
    const codec::BasisLimits limits = codec::BasisLimits::for_channels(static_cast<std::size_t>(channels));
    if (!is_fine((*decoder)->add_basis(made.basis, limits))) return false;
    void *frame = nullptr, *out = nullptr;
    cudaMalloc(&frame, made.frame.size());
    cudaMalloc(&out, bytes);
    cudaMemcpy(frame, made.frame.data(), made.frame.size(), cudaMemcpyHostToDevice);
    const auto decode = [&](int) {
      return is_fine((*decoder)->decode(made.frame, {static_cast<std::byte*>(out), bytes}, stream,
                                        static_cast<const std::byte*>(frame)));
    };
    const std::string what = fmt::format("decode fidelity {} chunks [{}, {}]",
                                         chunks == 0 ? "usual" : std::to_string(chunks), kRows, channels);
    const bool fine = Timer(stream).measure(what, bytes, setting, decode);
    cudaFree(frame);
    cudaFree(out);
    if (!fine) return false;
    fmt::print("{:47} {:.3f} of the tensor's bytes, {} components\n", "  frame",
               static_cast<double>(made.frame.size()) / static_cast<double>(bytes), kComponents);
  }
  return true;
}

}  // namespace pinion::bench
