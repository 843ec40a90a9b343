#include "pinion/base/safetensors.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "pinion/base/checked.h"

namespace pinion {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::string_view kMetadataKey = "__metadata__";

Error bad(const std::string& text) {
  return Error{Errc::kBadFormat, "safetensors header: " + text,
               "the file is damaged or was not fully downloaded"};
}

// Parses JSON and refuses a key that stands twice in one object: readers would disagree on which counts.
Result<nlohmann::json> parse_header_json(std::string_view text) {
  using Event = nlohmann::json::parse_event_t;
  constexpr int kWatchedDepth = 2;  // the header's own keys and those of its entries
  std::array<std::set<std::string>, kWatchedDepth> seen;
  std::string duplicate;
  const auto watch = [&](int depth, Event event, nlohmann::json& parsed) {
    if (depth > kWatchedDepth) return true;
    if (event == Event::object_start && depth < kWatchedDepth) seen[static_cast<std::size_t>(depth)].clear();
    if (event == Event::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!seen[static_cast<std::size_t>(depth - 1)].insert(key).second) duplicate = key;
    }
    return true;
  };
  nlohmann::json header = nlohmann::json::parse(text, watch, /*allow_exceptions=*/false);
  if (header.is_discarded() || !header.is_object()) return bad("not a JSON object");
  if (!duplicate.empty()) return bad("'" + duplicate + "' is listed twice");
  return header;
}

// The byte count of a tensor, seen as int64 elements so that Shape::elements() cannot overflow either.
std::optional<std::size_t> checked_bytes(std::span<const std::int64_t> extents, DType dtype) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : extents) {
    const auto product = checked_mul(elements, extent);
    if (!product) return std::nullopt;
    elements = *product;
  }
  return checked_mul(static_cast<std::size_t>(elements), size_bytes(dtype));
}

Result<SafetensorsEntry> parse_entry(const std::string& key, const nlohmann::json& value,
                                     std::size_t data_start, std::size_t file_bytes) {
  const auto wrong = [&](const std::string& text) { return bad("tensor '" + key + "': " + text); };
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    return wrong("dtype, shape or data_offsets is missing");
  }
  const nlohmann::json& dtype_json = value["dtype"];
  if (!dtype_json.is_string()) return wrong("dtype is not a string");
  const auto dtype = dtype_from_name(dtype_json.get<std::string>());
  if (!dtype) {
    return Error{
        Errc::kUnsupported,
        "safetensors header: tensor '" + key + "' has unknown dtype '" + dtype_json.get<std::string>() + "'",
        ""};
  }
  const nlohmann::json& shape_json = value["shape"];
  if (!shape_json.is_array() || shape_json.size() > Shape::kMaxRank)
    return wrong("shape is not a list of up to 8 sizes");
  std::vector<std::int64_t> extents;
  for (const nlohmann::json& extent : shape_json) {
    if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
      return wrong("a size is not a non-negative integer");
    }
    extents.push_back(extent.get<std::int64_t>());
  }
  const auto data_bytes = checked_bytes(extents, *dtype);
  if (!data_bytes) return wrong("the sizes overflow");
  const nlohmann::json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return wrong("data_offsets is not a pair of offsets");
  }
  const auto begin = checked_add(offsets[0].get<std::size_t>(), data_start);
  const auto end = checked_add(offsets[1].get<std::size_t>(), data_start);
  if (!begin || !end || *begin > *end) return wrong("data_offsets are out of order");
  if (*end > file_bytes) {
    return wrong("its data ends at byte " + std::to_string(*end) + " of a file of " +
                 std::to_string(file_bytes));
  }
  if (*end - *begin != *data_bytes) {
    return wrong("dtype and shape ask for " + std::to_string(*data_bytes) + " bytes, data_offsets give " +
                 std::to_string(*end - *begin));
  }
  return SafetensorsEntry{key, *dtype, Shape(std::span<const std::int64_t>(extents)), *begin, *end};
}

Result<std::map<std::string, std::string>> parse_metadata(const nlohmann::json& value) {
  if (!value.is_object()) return bad("__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return bad("__metadata__ entry '" + key + "' is not a string");
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

// Data must be covered exactly once: an overlap or a hole means that somebody lies about the offsets.
Result<void> check_coverage(const std::vector<SafetensorsEntry>& entries, std::size_t data_start,
                            std::size_t file_bytes) {
  std::size_t expected = data_start;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin < expected) return bad("tensor '" + entry.name + "' overlaps the one before it");
    if (entry.begin > expected) return bad("there is a hole before tensor '" + entry.name + "'");
    expected = entry.end;
  }
  if (expected != file_bytes)
    return bad(std::to_string(file_bytes - expected) + " bytes after the last tensor belong to none");
  return {};
}

}  // namespace

Result<SafetensorsHeader> parse_safetensors(ByteSpan start, std::size_t file_bytes,
                                            const SafetensorsLimits& limits) {
  if (file_bytes < kLengthBytes || start.size() < kLengthBytes) return bad("the file has fewer than 8 bytes");
  const auto header_bytes = ByteReader(start).read<std::uint64_t>();
  if (header_bytes > limits.max_header_bytes) {
    return bad("its length of " + std::to_string(header_bytes) + " bytes is over the limit of " +
               std::to_string(limits.max_header_bytes));
  }
  if (header_bytes > file_bytes - kLengthBytes || header_bytes > start.size() - kLengthBytes) {
    return bad("its length of " + std::to_string(header_bytes) + " bytes is more than the file of " +
               std::to_string(file_bytes) + " holds");
  }
  PINION_TRY(const nlohmann::json json,
             parse_header_json(as_text(start.subspan(kLengthBytes, header_bytes))));
  if (json.size() > limits.max_tensors) return bad("too many tensors");

  SafetensorsHeader header;
  const std::size_t data_start = kLengthBytes + header_bytes;
  for (const auto& [key, value] : json.items()) {
    if (key == kMetadataKey) {
      PINION_TRY(header.metadata, parse_metadata(value));
      continue;
    }
    PINION_TRY(SafetensorsEntry entry, parse_entry(key, value, data_start, file_bytes));
    header.entries.push_back(std::move(entry));
  }
  std::sort(header.entries.begin(), header.entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
            });
  PINION_TRY_VOID(check_coverage(header.entries, data_start, file_bytes));
  return header;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile file;
  PINION_TRY(file.file_, MappedFile::open(path));
  auto header = parse_safetensors(file.file_->bytes(), file.file_->bytes().size());
  if (!header.ok()) return std::move(header).error().in(path.string());
  file.header_ = std::move(header).value();
  for (std::size_t i = 0; i < file.header_.entries.size(); ++i)
    file.index_.emplace(file.header_.entries[i].name, i);
  return file;
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.entries[found->second];
}

Tensor SafetensorsFile::tensor(const SafetensorsEntry& entry) const {
  return Tensor::wrap({file_->bytes().data() + entry.begin, entry.dtype, entry.shape, Device{}}, file_);
}

Result<Tensor> SafetensorsFile::tensor(std::string_view name) const {
  const SafetensorsEntry* entry = find(name);
  if (entry == nullptr)
    return Error{Errc::kNotFound, path().string() + " has no tensor '" + std::string(name) + "'", ""};
  return tensor(*entry);
}

Result<void> write_safetensors(const std::filesystem::path& path, const TensorList& tensors,
                               const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::size_t offset = 0;
  for (const NamedTensor& entry : tensors) {
    if (entry.name == kMetadataKey || header.contains(entry.name)) {
      return Error{Errc::kInvalidArgument,
                   "cannot write " + path.string() + ": the tensor name '" + entry.name + "' is taken", ""};
    }
    const auto extents = entry.tensor.shape().extents();
    header[entry.name] = {{"dtype", name(entry.tensor.dtype())},
                          {"shape", std::vector<std::int64_t>(extents.begin(), extents.end())},
                          {"data_offsets", {offset, offset + entry.tensor.bytes()}}};
    offset += entry.tensor.bytes();
  }
  // Text from a command line may be anything: what is not UTF-8 is replaced, not thrown over.
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // keeps the data 8-byte aligned

  // Large, so streamed to a temporary name and renamed: a reader never sees half a file.
  const std::filesystem::path temporary = path.string() + ".part";
  std::error_code failure;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), failure);
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    const std::uint64_t header_bytes = text.size();
    out.write(reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes));
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const NamedTensor& entry : tensors) {
      const ByteSpan bytes = entry.tensor.view().span();
      out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    out.flush();
    if (!out)
      return Error{Errc::kIo, "cannot write " + path.string(),
                   "check that the folder exists and the disk is not full"};
  }
  std::filesystem::rename(temporary, path, failure);
  if (failure) return Error{Errc::kIo, "cannot write " + path.string() + ": " + failure.message(), ""};
  return {};
}

}  // namespace pinion
