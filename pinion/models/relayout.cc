#include "pinion/models/relayout.h"

#include <fmt/format.h>

#include <algorithm>

#include "pinion/models/load_tensor.h"
#include "pinion/models/scaled_fp8.h"

namespace pinion::models {
namespace {

// Rows of a canonical tensor that go to certain rows of a tensor of the new file.
struct Share {
  std::string canonical;
  std::int64_t canonical_row = 0;
  RowRange to;
};

// The shares of every tensor of the new file, in the order of its rows.
std::map<std::string, std::vector<Share>> shares_by_target(const std::vector<WantedGroup>& target) {
  std::map<std::string, std::vector<Share>> all;
  for (const WantedGroup& group : target) {
    for (const WantedTensor& tensor : group.tensors) {
      std::int64_t row = 0;
      for (const RowRange& range : tensor.spellings.front()) {
        all[range.tensor].push_back({tensor.name, row, range});
        row += range.rows;
      }
    }
  }
  for (auto& [name, shares] : all) {
    std::sort(shares.begin(), shares.end(),
              [](const Share& a, const Share& b) { return a.to.row_begin < b.to.row_begin; });
  }
  return all;
}

Shape with_rows(const Shape& shape, std::int64_t rows) {
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents.front() = rows;
  return Shape(std::span<const std::int64_t>(extents));
}

// A view of rows [begin, begin + rows).
Tensor rows_of(const Tensor& tensor, std::int64_t begin, std::int64_t rows) {
  const std::size_t row_bytes = tensor.bytes() / static_cast<std::size_t>(tensor.shape()[0]);
  const TensorView view{tensor.view().data + static_cast<std::size_t>(begin) * row_bytes, tensor.dtype(),
                        with_rows(tensor.shape(), rows), Device{}};
  return Tensor::wrap(view, std::make_shared<Tensor>(tensor));
}

Tensor joined(const std::vector<Tensor>& parts) {
  std::int64_t rows = 0;
  for (const Tensor& part : parts) rows += part.shape()[0];
  Tensor whole = Tensor::empty(parts.front().dtype(), with_rows(parts.front().shape(), rows));
  std::byte* to = whole.mutable_data();
  for (const Tensor& part : parts) to = std::copy_n(part.view().data, part.bytes(), to);
  return whole;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.defined() && b.defined() && std::ranges::equal(a.view().span(), b.view().span());
}

// The one scale that covers the tensor, as a scalar; undefined for weights that are stored plainly.
Result<Tensor> common_scale(const Checkpoint& checkpoint, const CanonicalTensor& tensor) {
  const auto plain = [](const Piece& piece) { return piece.scale.empty(); };
  if (std::all_of(tensor.pieces.begin(), tensor.pieces.end(), plain)) return Tensor();
  Tensor common;
  for (const Piece& piece : tensor.pieces) {
    Tensor scale;
    if (!plain(piece)) {
      PINION_TRY(scale, checkpoint.weights().tensor(piece.scale));
    }
    if (!scale.defined() || scale.elements() != 1 || (common.defined() && !same_bytes(scale, common))) {
      return Error{Errc::kUnsupported,
                   fmt::format("'{}' has several fp8 scales, which the layout cannot hold", tensor.name),
                   "export from the bf16 file of the model"};
    }
    common = scale.reshaped(Shape{});
  }
  return common;
}

Result<void> add_scale(const Checkpoint& checkpoint, const std::string& name,
                       const std::vector<Share>& shares, TensorList& tensors) {
  constexpr std::string_view kWeight = ".weight";
  for (const Share& share : shares) {
    const CanonicalTensor& tensor = checkpoint.tensor(share.canonical);
    PINION_TRY(const Tensor scale, common_scale(checkpoint, tensor));
    if (!scale.defined()) continue;
    if (shares.size() != 1 || !name.ends_with(kWeight)) {
      return Error{Errc::kUnsupported, fmt::format("'{}' would join tensors with scales of their own", name),
                   ""};
    }
    const std::string layer = name.substr(0, name.size() - kWeight.size());
    const std::string note = scaled_fp8_note(tensor.pieces.front().dtype);
    tensors.push_back({layer + ".weight_scale", scale});
    tensors.push_back(
        {layer + ".comfy_quant",
         Tensor::copy_of(
             {as_bytes(note).data(), DType::kU8, {static_cast<std::int64_t>(note.size())}, Device{}})});
  }
  return {};
}

}  // namespace

Result<Relaid> relay(const Checkpoint& checkpoint, const std::vector<WantedGroup>& target) {
  Relaid relaid;
  relaid.metadata = {{"format", "pt"}};
  for (const auto& [name, shares] : shares_by_target(target)) {
    std::vector<Tensor> parts;
    for (const Share& share : shares) {
      PINION_TRY(const Tensor stored, stored_tensor(checkpoint, checkpoint.tensor(share.canonical)));
      parts.push_back(rows_of(stored, share.canonical_row, share.to.rows));
      if (parts.back().dtype() != parts.front().dtype()) {
        return Error{Errc::kUnsupported,
                     fmt::format("the parts of '{}' are stored in different dtypes", name), ""};
      }
    }
    relaid.tensors.push_back({name, parts.size() == 1 ? parts.front() : joined(parts)});
    PINION_TRY_VOID(add_scale(checkpoint, name, shares, relaid.tensors));
  }
  return relaid;
}

}  // namespace pinion::models
