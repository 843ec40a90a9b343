#include "bench/device_fidelity_bench.h"

#include <cmath>
#include <memory>
#include <random>

#include "pinion/base/float_formats.h"
#include "pinion/codec/cuda/device_fidelity_codec.h"
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

namespace {

constexpr std::size_t kEncodedComponents = 512, kStates = 6;
constexpr std::size_t kComparedStates = 3;  // with the CPU
constexpr double kTargetDb = 20;
constexpr double kKept = 0.9;  // correlation of a state's components with those before

struct MadeStates {
  Bytes basis;
  std::vector<Tensor> tensors;
};

// States in the span of orthonormal directions, beside some noise, about means that differ by channel.
MadeStates make_states(std::size_t channels) {
  std::mt19937 dice(11);
  std::normal_distribution<float> normal;
  codec::Matrix directions(kEncodedComponents, channels);
  for (float& value : directions.values) value = normal(dice);
  std::vector<double> steps;
  for (std::size_t k = 0; k < kEncodedComponents; ++k) {
    const auto row = directions.row(k);
    for (std::size_t before = 0; before < k; ++before) {
      const auto other = directions.row(before);
      const float along = codec::dot(row, other);
      for (std::size_t c = 0; c < channels; ++c) row[c] -= along * other[c];
    }
    const auto size = static_cast<float>(std::sqrt(codec::energy(row)));
    for (float& value : row) value /= size;
    // As rough as a learned one: what the component's spread allows.
    const double spread = kLargestSpread * std::pow(static_cast<double>(k + 1), -kFalls);
    steps.push_back(0.7 / (std::max(spread, 0.4) * std::sqrt(static_cast<double>(channels))));
  }
  MadeStates made{codec::encode_basis(directions, steps), {}};
  std::vector<float> means(channels), pool(1 << 20);
  for (float& mean : means) mean = normal(dice);
  for (float& value : pool) value = normal(dice) * 0.01f;
  codec::Matrix components(kEncodedComponents, kRows);
  for (std::size_t state = 0; state < kStates; ++state) {
    const auto kept = static_cast<float>(state == 0 ? 0 : kKept);
    for (std::size_t k = 0; k < kEncodedComponents; ++k) {
      const auto spread = static_cast<float>(kLargestSpread * std::pow(static_cast<double>(k + 1), -kFalls) *
                                             std::sqrt(1 - kept * kept));
      for (float& value : components.row(k)) value = kept * value + spread * normal(dice);
    }
    codec::Matrix values = codec::multiply_transposed(components, directions);
    for (std::size_t i = 0; i < values.values.size(); ++i)
      values.values[i] += means[i % channels] + pool[(i * 2654435761u >> 7) % pool.size()];
    Tensor& tensor = made.tensors.emplace_back(
        Tensor::empty(DType::kBF16, {static_cast<std::int64_t>(kRows), static_cast<std::int64_t>(channels)}));
    from_float(values.values.data(), tensor.elements(), DType::kBF16, tensor.mutable_data());
  }
  return made;
}

// Bytes of the CPU's frames in the same basis.
bool encode_here(const MadeStates& made, std::vector<std::size_t>& bytes) {
  auto encoder =
      codec::Encoder::create({.mode = codec::Mode::kFidelity, .target_snr_db = kTargetDb}, {.threads = 16});
  if (!is_fine(encoder) || !is_fine((*encoder)->offer_basis(made.basis))) return false;
  for (std::size_t i = 0; i < kComparedStates; ++i) {
    const auto encoded = (*encoder)->encode(made.tensors[i]);
    if (!is_fine(encoded)) return false;
    bytes.push_back(encoded->frame.size());
  }
  return true;
}

}  // namespace

bool run_fidelity_encoding(std::int64_t channels, const Setting& setting, cudaStream_t stream) {
  const MadeStates made = make_states(static_cast<std::size_t>(channels));
  const std::size_t bytes = made.tensors.front().bytes();
  std::vector<std::unique_ptr<OnDevice>> there;
  for (const Tensor& tensor : made.tensors) there.push_back(std::make_unique<OnDevice>(tensor));
  auto encoder =
      codec::DeviceFidelityEncoder::create(kTargetDb, {.max_tensor_bytes = bytes}, {.most_band_loss = 1});
  if (!is_fine(encoder) || !is_fine((*encoder)->use_basis(made.basis))) return false;
  std::vector<std::size_t> frames;
  double snr_db = 0, band_loss = 0;
  for (const auto& state : there) {
    const auto frame = (*encoder)->encode(state->view, stream);
    if (!is_fine(frame)) return false;
    frames.push_back(frame->frame.bytes);
    snr_db = frame->snr_db;
  }
  const auto encode = [&](int run) {
    const auto frame = (*encoder)->encode(there[static_cast<std::size_t>(run) % kStates]->view, stream);
    if (!is_fine(frame)) return false;
    band_loss = std::max(band_loss, frame->band_loss);
    return true;
  };
  const auto encode_key = [&](int run) {
    (*encoder)->restart();
    return encode(run);
  };
  Timer timer(stream);
  const std::string what = fmt::format("encode fidelity:{:.0f}{{}} [{}, {}]", kTargetDb, kRows, channels);
  if (!timer.measure(fmt::format(fmt::runtime(what), ", key"), bytes, setting, encode_key) ||
      !timer.measure(fmt::format(fmt::runtime(what), ", next"), bytes, setting, encode))
    return false;
  std::vector<std::size_t> frames_here;
  if (!encode_here(made, frames_here)) return false;
  fmt::print(
      "{:47} {} and then {} bytes at {:.2f} dB, the CPU's {} and {}; scratch {:.2f}, band loss {:.3f}\n",
      "  frame", frames.front(), frames[kComparedStates - 1], snr_db, frames_here.front(), frames_here.back(),
      static_cast<double>((*encoder)->scratch_bytes()) / static_cast<double>(bytes), band_loss);
  return true;
}

}  // namespace pinion::bench
