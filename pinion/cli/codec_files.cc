#include "pinion/cli/codec_files.h"

#include <fmt/core.h>

#include <map>
#include <nlohmann/json.hpp>

#include "pinion/cli/codec_sequence.h"
#include "pinion/codec/container.h"
#include "pinion/codec/frame_format.h"

namespace pinion::cli {
namespace {

// A file that its user names may be as large as it likes; a lying frame in it should still be refused.
codec::DecodeLimits limits_of(const MappedFile& file) {
  constexpr std::size_t kLargestRatio = 4096;
  constexpr std::size_t kAlwaysAccepted = std::size_t{1} << 30;
  return {.max_tensor_bytes = std::max(kAlwaysAccepted, file.bytes().size() * kLargestRatio)};
}

// The basis that a frame needs, if the file has it. A stream holds no other, so that a file of many streams
// takes no more memory than its tensors' widths call for.
Result<void> add_needed_basis(codec::Decoder& decoder, const std::map<std::string, ByteSpan>& bases,
                              ByteSpan frame, const codec::DecodeLimits& limits) {
  PINION_TRY(const codec::FrameInfo info, codec::inspect(frame, limits));
  const auto found = bases.find(info.basis_hash);
  if (found == bases.end()) return {};
  const auto channels = static_cast<std::size_t>(codec::channels_of(info.shape));
  return decoder.add_basis(found->second, codec::BasisLimits::for_channels(channels));
}

}  // namespace

Result<std::string> encode_file(const EncodeFileRequest& request) {
  PINION_TRY(const SafetensorsFile file, SafetensorsFile::open(request.in));
  std::vector<Bytes> assets;
  struct NamedFrame {
    std::string name;
    std::uint64_t stream;
    Bytes frame;
  };
  std::vector<NamedFrame> frames;
  std::size_t tensor_bytes = 0;
  const std::vector<TensorStream> streams = group_streams(file, request.sequences);
  for (std::size_t i = 0; i < streams.size(); ++i) {
    PINION_TRY(const auto encoder, codec::Encoder::create(request.profile));
    for (const SafetensorsEntry* entry : streams[i].tensors) {
      auto encoded = encoder->encode(file.tensor(*entry));
      if (!encoded.ok()) return std::move(encoded).error().in(request.in.string() + ": " + entry->name);
      if (!encoded->basis.empty()) assets.push_back(std::move(encoded->basis));
      frames.push_back({entry->name, i, std::move(encoded->frame)});
      tensor_bytes += encoded->stats.tensor_bytes;
    }
  }
  codec::Container container;
  for (const Bytes& asset : assets) container.bases.push_back(asset);
  for (const NamedFrame& named : frames) container.frames.push_back({named.name, named.stream, named.frame});
  const Bytes content = codec::write_container(container);
  PINION_TRY_VOID(write_file(request.out, content));
  return fmt::format("{}: {} tensors, {} bytes as {} bytes ({:.2f}x)", request.out.string(), frames.size(),
                     tensor_bytes, content.size(),
                     static_cast<double>(tensor_bytes) / static_cast<double>(content.size()));
}

Result<std::string> decode_file(const std::filesystem::path& in, const std::filesystem::path& out) {
  PINION_TRY(const auto file, MappedFile::open(in));
  auto container = codec::parse_container(file->bytes());
  if (!container.ok()) return std::move(container).error().in(in.string());
  std::map<std::string, ByteSpan> bases;
  for (const ByteSpan basis : container->bases) bases.emplace(codec::basis_hash(basis), basis);
  std::map<std::uint64_t, std::unique_ptr<codec::Decoder>> decoders;
  TensorList tensors;
  for (const codec::ContainerFrame& frame : container->frames) {
    auto& decoder = decoders[frame.stream];
    if (!decoder) decoder = codec::Decoder::create();
    const auto named = [&](Error error) { return std::move(error).in(in.string() + ": " + frame.name); };
    auto added = add_needed_basis(*decoder, bases, frame.frame, limits_of(*file));
    if (!added.ok()) return named(std::move(added).error());
    auto tensor = decoder->decode(frame.frame, limits_of(*file));
    if (!tensor.ok()) return named(std::move(tensor).error());
    tensors.push_back({frame.name, std::move(tensor).value()});
  }
  PINION_TRY_VOID(write_safetensors(out, tensors));
  return fmt::format("{}: {} tensors", out.string(), tensors.size());
}

Result<std::string> describe_file(const std::filesystem::path& in, bool json) {
  PINION_TRY(const auto file, MappedFile::open(in));
  auto container = codec::parse_container(file->bytes());
  if (!container.ok()) return std::move(container).error().in(in.string());
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  std::string table = fmt::format("{:<32} {:>8} {:<8} {:<18} {:>10} {:>8} {:>5} {:>12}  {}\n", "tensor",
                                  "mode", "dtype", "shape", "bytes", "stream", "key", "step", "basis");
  for (const codec::ContainerFrame& frame : container->frames) {
    auto info = codec::inspect(frame.frame, limits_of(*file));
    if (!info.ok()) return std::move(info).error().in(in.string() + ": " + frame.name);
    table +=
        fmt::format("{:<32} {:>8} {:<8} {:<18} {:>10} {:>8} {:>5} {:>12.5g}  {}\n", frame.name,
                    codec::name(info->mode), name(info->dtype), to_string(info->shape), info->frame_bytes,
                    frame.stream, info->key_frame ? "yes" : "no", info->step_size, info->basis_hash);
    list.push_back({{"name", frame.name},
                    {"mode", codec::name(info->mode)},
                    {"dtype", name(info->dtype)},
                    {"shape", info->shape.extents()},
                    {"frame_bytes", info->frame_bytes},
                    {"stream", frame.stream},
                    {"key_frame", info->key_frame},
                    {"step_size", info->step_size},
                    {"basis", info->basis_hash}});
  }
  for (const ByteSpan basis : container->bases) {
    table += fmt::format("basis {}: {} bytes\n", codec::basis_hash(basis), basis.size());
  }
  return json ? list.dump(2) + "\n" : table;
}

}  // namespace pinion::cli
