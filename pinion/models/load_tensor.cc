#include "pinion/models/load_tensor.h"

#include <map>

#include "pinion/models/torch_bridge.h"

namespace pinion::models {
namespace {

// Opens each file tensor once, so that Weights::bytes_read counts what a tensor costs and no more.
class PieceReader {
 public:
  explicit PieceReader(const Weights& weights) : weights_(weights) {}

  Result<at::Tensor> open(const std::string& name) {
    if (const auto known = opened_.find(name); known != opened_.end()) return known->second;
    PINION_TRY(const Tensor tensor, weights_.tensor(name));
    return opened_.emplace(name, to_torch(tensor)).first->second;
  }

  Result<at::Tensor> rows(const Piece& piece) {
    PINION_TRY(const at::Tensor whole, open(piece.range.tensor));
    return whole.narrow(0, piece.range.row_begin, piece.range.rows);
  }

  // The factor of the piece's rows in a shape that broadcasts against them; undefined for none.
  Result<at::Tensor> scale(const Piece& piece, std::int64_t rank) {
    if (piece.scale.empty()) return at::Tensor();
    PINION_TRY(at::Tensor scale, open(piece.scale));
    scale = scale.to(at::kFloat).flatten();
    if (scale.numel() == 1) return scale;
    std::vector<std::int64_t> shape(static_cast<std::size_t>(rank), 1);
    shape.front() = piece.range.rows;
    return scale.narrow(0, piece.range.row_begin, piece.range.rows).reshape(shape);
  }

 private:
  const Weights& weights_;
  std::map<std::string, at::Tensor> opened_;
};

Result<at::Tensor> load_pieces(const Checkpoint& checkpoint, const CanonicalTensor& tensor,
                               const StageOptions& options) {
  const c10::NoGradGuard no_grad;  // not InferenceMode: autograd could not use what is made there (linearise)
  const at::Device device = to_torch(options.device);
  const auto extents = tensor.shape.extents();
  const at::Tensor loaded = at::empty(at::IntArrayRef(extents.data(), extents.size()),
                                      at::TensorOptions().dtype(to_torch(options.dtype)).device(device));
  PieceReader reader(checkpoint.weights());
  std::int64_t row = 0;
  for (const Piece& piece : tensor.pieces) {
    PINION_TRY(at::Tensor rows, reader.rows(piece));
    PINION_TRY(const at::Tensor scale, reader.scale(piece, loaded.dim()));
    rows = rows.to(device);  // as stored, so that the bus carries the fewest bytes
    if (scale.defined()) rows = rows.to(at::kFloat).mul_(scale.to(device));
    loaded.narrow(0, row, piece.range.rows).copy_(rows);
    row += piece.range.rows;
  }
  return loaded;
}

}  // namespace

Result<at::Tensor> load_tensor(const Checkpoint& checkpoint, const CanonicalTensor& tensor,
                               const StageOptions& options) {
  auto loaded = caught([&] { return load_pieces(checkpoint, tensor, options); });
  if (!loaded.ok()) return std::move(loaded).error().in("loading '" + tensor.name + "'");
  return loaded;
}

Result<Tensor> stored_tensor(const Checkpoint& checkpoint, const CanonicalTensor& tensor) {
  return caught([&]() -> Result<Tensor> {
    const c10::InferenceMode inference;
    PieceReader reader(checkpoint.weights());
    std::vector<at::Tensor> pieces;
    for (const Piece& piece : tensor.pieces) {
      if (piece.dtype != tensor.pieces.front().dtype) {
        return Error{Errc::kUnsupported, "the parts of '" + tensor.name + "' are stored in different dtypes",
                     ""};
      }
      PINION_TRY(at::Tensor rows, reader.rows(piece));
      pieces.push_back(std::move(rows));
    }
    if (pieces.size() == 1) return from_torch(pieces.front());
    // cat knows no fp8, and no arithmetic is wanted: join the bytes.
    for (at::Tensor& piece : pieces) piece = piece.view(at::kByte);
    return from_torch(at::cat(pieces, 0).view(to_torch(tensor.pieces.front().dtype)));
  });
}

}  // namespace pinion::models
