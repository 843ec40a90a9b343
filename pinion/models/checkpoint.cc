#include "pinion/models/checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <span>

#include "pinion/models/scaled_fp8.h"

namespace pinion::models {
namespace {

constexpr std::size_t kNamesInMessage = 4;

// What a spelling lacks, in the file's own names.
std::vector<std::string> missing_tensors(const Weights& weights, const Spelling& spelling) {
  std::vector<std::string> missing;
  for (const RowRange& range : spelling) {
    if (!weights.contains(range.tensor)) missing.push_back(range.tensor);
  }
  return missing;
}

Shape with_rows(const Shape& shape, std::int64_t rows) {
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents.front() = rows;
  return Shape(std::span<const std::int64_t>(extents));
}

bool can_be_read(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF8E4M3:
    case DType::kF8E5M2:
      return true;
    default:
      return false;
  }
}

Result<Piece> find_piece(const Weights& weights, const RowRange& range, const Shape& canonical) {
  const SafetensorsEntry& entry = *weights.entry(range.tensor);
  const Shape expected = with_rows(canonical, range.file_rows);
  if (entry.shape != expected) {
    return Error{Errc::kBadFormat,
                 fmt::format("tensor '{}' has shape {}, expected {}", entry.name, to_string(entry.shape),
                             to_string(expected)),
                 "the file is damaged or is another model"};
  }
  PINION_TRY(std::string scale, find_scale(weights, entry));
  if (!can_be_read(entry.dtype)) {
    return Error{Errc::kUnsupported,
                 fmt::format("tensor '{}' is stored as {}, which is no weight format that can be read",
                             entry.name, name(entry.dtype)),
                 "use the bf16 or fp8 file of the model"};
  }
  return Piece{range, entry.dtype, std::move(scale)};
}

std::size_t row_bytes(const CanonicalTensor& tensor, DType dtype) {
  return static_cast<std::size_t>(tensor.shape.elements() / tensor.shape[0]) * size_bytes(dtype);
}

Result<CanonicalTensor> find_tensor(const Weights& weights, const WantedTensor& wanted,
                                    std::vector<std::string>& missing) {
  CanonicalTensor found{wanted.name, wanted.shape, {}, 0};
  const auto complete =
      std::find_if(wanted.spellings.begin(), wanted.spellings.end(),
                   [&](const Spelling& spelling) { return missing_tensors(weights, spelling).empty(); });
  if (complete == wanted.spellings.end()) {
    const auto lacking = missing_tensors(weights, wanted.spellings.front());
    missing.insert(missing.end(), lacking.begin(), lacking.end());
    return found;
  }
  std::set<std::string> scales;
  for (const RowRange& range : *complete) {
    PINION_TRY(Piece piece, find_piece(weights, range, wanted.shape));
    found.stored_bytes += static_cast<std::size_t>(range.rows) * row_bytes(found, piece.dtype);
    if (!piece.scale.empty() && scales.insert(piece.scale).second) {
      const SafetensorsEntry& scale = *weights.entry(piece.scale);
      found.stored_bytes += scale.end - scale.begin;
    }
    found.pieces.push_back(std::move(piece));
  }
  return found;
}

}  // namespace

Result<Checkpoint> Checkpoint::resolve(Weights weights, const std::vector<WantedGroup>& wanted) {
  Checkpoint checkpoint(std::move(weights));
  const std::string where = checkpoint.weights_.path().string();
  std::vector<std::string> missing;
  for (const WantedGroup& group : wanted) {
    TensorGroup& found = checkpoint.groups_.emplace_back(TensorGroup{group.name, {}, 0});
    for (const WantedTensor& tensor : group.tensors) {
      auto resolved = find_tensor(checkpoint.weights_, tensor, missing);
      if (!resolved.ok()) return std::move(resolved).error().in(where);
      found.stored_bytes += resolved->stored_bytes;
      found.tensors.push_back(std::move(resolved).value());
    }
  }
  if (!missing.empty()) {
    const std::size_t shown = std::min(missing.size(), kNamesInMessage);
    return Error{
        Errc::kNotFound,
        fmt::format("{} lacks {} tensor{}: {}{}", where, missing.size(), missing.size() == 1 ? "" : "s",
                    fmt::join(missing.begin(), missing.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                    missing.size() > shown ? ", …" : ""),
        "the file is incomplete: download it again"};
  }
  return checkpoint;
}

const TensorGroup& Checkpoint::group(std::string_view name) const {
  const auto found =
      std::find_if(groups_.begin(), groups_.end(), [&](const TensorGroup& g) { return g.name == name; });
  PINION_ASSERT(found != groups_.end());
  return *found;
}

const CanonicalTensor& Checkpoint::tensor(std::string_view name) const {
  for (const TensorGroup& group : groups_) {
    for (const CanonicalTensor& tensor : group.tensors) {
      if (tensor.name == name) return tensor;
    }
  }
  PINION_ASSERT(false);
  return groups_.front().tensors.front();
}

DType Checkpoint::main_dtype() const {
  std::map<DType, std::size_t> stored;
  for (const TensorGroup& group : groups_) {
    for (const CanonicalTensor& tensor : group.tensors) {
      for (const Piece& piece : tensor.pieces) {
        stored[piece.dtype] += static_cast<std::size_t>(piece.range.rows) * row_bytes(tensor, piece.dtype);
      }
    }
  }
  const auto most = std::max_element(stored.begin(), stored.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == stored.end() ? DType::kF32 : most->first;
}

std::vector<std::string> Checkpoint::unknown_names(std::string_view prefix) const {
  std::set<std::string_view> known;
  for (const TensorGroup& group : groups_) {
    for (const CanonicalTensor& tensor : group.tensors) {
      for (const Piece& piece : tensor.pieces) known.insert(piece.range.tensor);
    }
  }
  std::vector<std::string> unknown;
  for (std::string& name : weights_.names()) {
    if (name.starts_with(prefix) && !known.contains(name) && !is_quantisation_note(name)) {
      unknown.push_back(std::move(name));
    }
  }
  return unknown;
}

}  // namespace pinion::models
