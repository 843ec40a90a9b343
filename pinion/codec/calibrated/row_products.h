#pragma once
// The products of mode 6 (docs/format.md §12.4) with what comes before and after them, a block of rows at a
// time: the values of a block stay in the caches. Threads of a pool share the blocks; results do not depend
// on how many there are. Used by one thread at a time; after the first call of a size nothing is allocated,
// but by respond().

#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/chunk_pool.h"
#include "pinion/codec/math/product.h"

namespace pinion::codec {

// What the frames of a stream leave behind for the next. The transposed layout is that of the products.
struct CalibratedState {
  std::uint32_t checksum = 0;
  Matrix components;                      // y, [components, rows]
  std::vector<std::uint8_t> band_of_row;  // empty: all in the first
};

class RowProducts {
 public:
  // Calibration and pool outlive it.
  RowProducts(const Calibration& calibration, ChunkPool& pool);

  // The prediction of y, [K, rows]. `state` is that of the frame before where the streams have history and
  // the predictor uses it, else null.
  void predict(const RecordAt& record, const CalibratedParams& params, const StepContext& context,
               const CalibratedState* state, std::size_t rows, Matrix& prediction);

  // y of a tensor less its prediction, [K, rows], and how loud each row is (0 without loudness). False, with
  // results that mean nothing, if a value of the tensor or of the residual is not finite.
  bool project(const TensorView& tensor, const RecordAt& record, const Matrix& prediction, Matrix& residual,
               std::vector<double>& loudness);

  // What the rest of the model makes of what coding took from a tensor, on average: (tensor - that of
  // `components`) times the response [d, latents]; [rows, latents]. Values that the calibration cannot follow
  // are the caller's affair.
  std::vector<float> respond(const TensorView& tensor, const RecordAt& record, const Matrix& response,
                             const StepContext& context, const Matrix& components);

  // The tensor of y, [K, rows].
  Tensor rebuild(const RecordAt& record, const StepContext& context, const Matrix& components, DType dtype,
                 const Shape& shape);

 private:
  struct Scratch {
    Panel rows, strips, product;
  };
  struct Block {
    std::size_t begin, count;
    Scratch& scratch;
  };
  void pack_left(const Matrix& matrix, Panel& panel) const;
  static void pack_components(const Matrix& components, const Block& block, std::size_t width,
                              std::size_t depth, float* strips);
  void add_product(const Panel& left, std::size_t left_strips, const float* right, std::size_t depth,
                   const Block& block) const;
  void turn_tensor(const TensorView& tensor, const RecordAt& record, const Block& block, std::size_t depth,
                   float* strips) const;
  template <class Work>
  void for_blocks(std::size_t rows, const Work& work);

  const Calibration& calibration_;
  ChunkPool& pool_;
  const ProductPath& product_;
  Panel projection_;              // packed as a left side; made when first needed
  Panel reconstruction_;          // packed as a right side; made when first needed
  Panel prediction_;              // packed as a left side, of the last record
  std::vector<Scratch> scratch_;  // of each worker
};

}  // namespace pinion::codec
