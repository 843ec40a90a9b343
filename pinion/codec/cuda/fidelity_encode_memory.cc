#include "pinion/codec/cuda/fidelity_encode_memory.h"

namespace pinion::codec::cuda {
namespace {

std::size_t blocks_of(std::size_t count, std::size_t size) { return (count + size - 1) / size; }

}  // namespace

std::size_t place_fidelity_job(Parts& parts, FidelityEncodeJob& job) {
  const std::size_t components = job.components, channels = job.channels, pitch = job.pitch;
  const std::size_t values = components * job.rows, parameter_bits = 24 * components + 1024;
  // What is 0 at first.
  job.outcome = parts.take<FidelityOutcome>(1);
  job.param_words = parts.take<std::uint32_t>(parameter_bits / 32 + 2);
  const std::size_t cleared = parts.used();
  job.step = parts.take<FidelityStep>(1);
  job.channel_sums = parts.take<double>(kRowParts * channels);
  job.channel_squares = parts.take<double>(kRowParts * channels);
  job.rounding = parts.take<double>(kRowParts * blocks_of(channels, 256));
  job.means = parts.take<double>(channels);
  job.totals = parts.take<ChannelTotals>(blocks_of(channels, kChannelBlock));
  job.values = parts.take<float>(components * pitch);
  if (job.has_basis) {
    const std::size_t side = blocks_of(components, 64);
    job.projected_means = parts.take<float>(components);
    job.coarse = parts.take<__nv_bfloat16>(components * pitch);
    job.inside_blocks = static_cast<std::uint32_t>(side * side * kInsideParts);
    job.inside = parts.take<double>(job.inside_blocks);
  }
  job.spreads = parts.take<ComponentSpread>(components);
  job.predictor_of = parts.take<std::uint8_t>(components);
  job.trial_errors = parts.take<float>((kTrials + 1) * components);
  job.trial_coded = parts.take<std::uint8_t>(components);
  job.row_bits = parts.take<float>(blocks_of(job.rows, kSizedRows));
  job.plan = parts.take<FidelityPlan>(1);
  job.factors = parts.take<std::int32_t>(kReferences * components);
  job.residuals = parts.take<std::int32_t>(values);
  job.bins = parts.take<BinTotals>(components);
  job.bests = parts.take<ClassBests>(components);
  job.mean_residuals = parts.take<std::int32_t>(channels);
  job.mean_coding = parts.take<MeanCoding>(1);
  job.mean_class = parts.take<std::uint16_t>(1);
  job.choice = parts.take<ClassChoice>(1);
  job.grid = parts.take<IndexGrid>(1);
  job.classes = parts.take<std::uint16_t>(components);
  job.offsets = parts.take<std::uint8_t>(components);
  job.active = parts.take<std::uint32_t>(components);
  job.fields = parts.take<FidelityFields>(1);
  job.places = parts.take<std::uint64_t>(kMostIndexChunks);
  job.coding.sizes = parts.take<std::uint32_t>(kMostIndexChunks);
  job.coding.slots =
      parts.take<std::byte>(index_slot_bytes(components, job.rows) + channels * kIndexSlotBytes);
  return cleared;
}

}  // namespace pinion::codec::cuda
