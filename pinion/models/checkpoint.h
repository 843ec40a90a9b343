#pragma once
// A checkpoint in canonical form: every tensor under the one name its family gives it, whatever the layout
// of the file. A canonical tensor is an ordered list of row ranges of file tensors, which serves loading,
// hashing and export alike. Immutable once resolved; thread-safe.

#include <optional>
#include <string>
#include <vector>

#include "pinion/models/weights.h"

namespace pinion::models {

// Rows [row_begin, row_begin + rows) of a file tensor that must have `file_rows` rows.
struct RowRange {
  std::string tensor;
  std::int64_t file_rows = 0;
  std::int64_t row_begin = 0;
  std::int64_t rows = 0;
};

// One way a file may spell a canonical tensor: these row ranges, one below the other.
using Spelling = std::vector<RowRange>;

// What a family asks of a file.
struct WantedTensor {
  std::string name;                 // canonical
  Shape shape;                      // canonical; a range's rows have the same trailing extents
  std::vector<Spelling> spellings;  // the first one whose tensors all exist is taken; [0] is written
};

// Tensors that are needed together: one block, or what embeds, finishes or modulates.
struct WantedGroup {
  std::string name;
  std::vector<WantedTensor> tensors;
};

// A row range that was found, with what is needed to make numbers of it.
struct Piece {
  RowRange range;
  DType dtype = DType::kF32;
  std::string scale;  // tensor with the factor of fp8 values (one value, or one per row); empty for none
};

struct CanonicalTensor {
  std::string name;
  Shape shape;
  std::vector<Piece> pieces;
  std::size_t stored_bytes = 0;  // in the file, scales included
};

struct TensorGroup {
  std::string name;
  std::vector<CanonicalTensor> tensors;
  std::size_t stored_bytes = 0;
};

class Checkpoint {
 public:
  // Finds every wanted tensor and checks its shape and dtype. kNotFound names the first missing tensors,
  // kBadFormat the first with another shape, kUnsupported a number format that cannot be read.
  static Result<Checkpoint> resolve(Weights weights, const std::vector<WantedGroup>& wanted);

  const Weights& weights() const { return weights_; }
  const std::vector<TensorGroup>& groups() const { return groups_; }

  // The group or tensor of that name, which must be one that was wanted.
  const TensorGroup& group(std::string_view name) const;
  const CanonicalTensor& tensor(std::string_view name) const;

  // The dtype that most of the bytes are stored in.
  DType main_dtype() const;

  // Names in the file (those that start with `prefix`) that belong to no canonical tensor and are no
  // scale, marker or format note of one.
  std::vector<std::string> unknown_names(std::string_view prefix) const;

 private:
  explicit Checkpoint(Weights weights) : weights_(std::move(weights)) {}

  Weights weights_;
  std::vector<TensorGroup> groups_;
};

}  // namespace pinion::models
