#include "pinion/codec/calibrated/row_products.h"

#include <algorithm>
#include <atomic>
#include <functional>

#include "pinion/base/float_formats.h"
#include "pinion/codec/fidelity/reconstruct.h"
#include "pinion/codec/math/all_finite.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kBlockRows = 64;  // whole strips of a right side on every CPU path

// Room for so many values, what is there stays.
float* room(Panel& values, std::size_t count) {
  if (values.size() < count) values.resize(count);
  return values.data();
}

// Columns of strips that a block's rows become, [strip][depth][width].
struct StripColumns {
  float* first;       // the first strip where these columns begin
  std::size_t depth;  // of a whole strip
  std::size_t width;
};

// Rows [count, columns] less `offsets`, turned into columns of strips from the `first_row`th on. That and the
// width of the strips are multiples of kTurned. Columns that are no row stay what they were: nobody reads
// what becomes of them.
void turn_rows(const float* rows, std::size_t count, std::span<const float> offsets, std::size_t first_row,
               const StripColumns& to) {
  const std::size_t columns = offsets.size();
  const VectorLoops& loops = vector_loops();
  const std::size_t whole_columns = columns - columns % kTurned, whole_rows = count - count % kTurned;
  const auto strip_of = [&](std::size_t row) {
    const std::size_t place = first_row + row;
    return to.first + place / to.width * to.depth * to.width + place % to.width;
  };
  for (std::size_t r = 0; r < whole_rows; r += kTurned) {
    for (std::size_t c = 0; c < whole_columns; c += kTurned) {
      loops.turn_centred(rows + r * columns + c, columns, offsets.data() + c, strip_of(r) + c * to.width,
                         to.width);
    }
  }
  for (std::size_t r = 0; r < count; ++r) {
    float* const column = strip_of(r);
    for (std::size_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c) {
      column[c * to.width] = rows[r * columns + c] - offsets[c];
    }
  }
}

}  // namespace

RowProducts::RowProducts(const Calibration& calibration, ChunkPool& pool)
    : calibration_(calibration), pool_(pool), product_(product_path()), scratch_(pool.threads()) {}

template <class Work>
void RowProducts::for_blocks(std::size_t rows, const Work& work) {
  pool_.run((rows + kBlockRows - 1) / kBlockRows, [&](std::size_t i, std::size_t worker) {
    const std::size_t begin = i * kBlockRows;
    work(Block{begin, std::min(kBlockRows, rows - begin), scratch_[worker]});
  });
}

// A matrix [depth, columns] as a left side.
void RowProducts::pack_left(const Matrix& matrix, Panel& panel) const {
  const std::size_t width = product_.left_width;
  pack_strips({.from = matrix.values.data(),
               .stride = matrix.columns,
               .depth = matrix.rows,
               .columns = matrix.columns,
               .width = width,
               .strip_size = matrix.rows * width},
              room(panel, product_.left_strips(matrix.columns) * width * matrix.rows));
}

// y of a block's rows, as columns of strips of that width and depth.
void RowProducts::pack_components(const Matrix& components, const Block& block, std::size_t width,
                                  std::size_t depth, float* strips) {
  pack_strips({.from = components.values.data() + block.begin,
               .stride = components.columns,
               .depth = components.rows,
               .columns = block.count,
               .width = width,
               .strip_size = depth * width},
              strips);
}

// Adds to what is in the block's room for products: rows of kBlockRows, one for each column on the left.
void RowProducts::add_product(const Panel& left, std::size_t left_strips, const float* right,
                              std::size_t depth, const Block& block) const {
  product_.add({.left = left.data(),
                .right = right,
                .depth = depth,
                .left_strips = left_strips,
                .right_strips = product_.right_strips(block.count),
                .out = block.scratch.product.data(),
                .stride = kBlockRows});
}

void RowProducts::predict(const RecordAt& record, const CalibratedParams& params, const StepContext& context,
                          const CalibratedState* state, std::size_t rows, Matrix& prediction) {
  const std::size_t components = calibration_.components(), latents = calibration_.latents();
  const std::size_t of_state = state == nullptr ? 0 : components;
  const bool has_change = params.uses_history() && latents > 0;
  const std::size_t depth = of_state + latents + (has_change ? latents : 0);
  PINION_ASSERT(depth == record.prediction.rows);
  prediction.resize(components, rows);
  const std::size_t left_strips = product_.left_strips(components), width = product_.right_width;
  pack_left(record.prediction, prediction_);
  const float per_sigma = has_change ? 1 / params.delta_sigma : 0;
  for_blocks(rows, [&](const Block& block) {
    float* const strips = room(block.scratch.strips, kBlockRows * depth);
    if (state != nullptr) {
      pack_components(state->components, block, width, depth, strips);
    }
    const float* const own = context.latents.data() + block.begin * latents;
    if (latents > 0) {
      turn_rows(own, block.count, record.latent_mean, 0, {strips + of_state * width, depth, width});
    }
    if (has_change) {
      const float* const before = context.previous_latents.data() + block.begin * latents;
      float* const change = room(block.scratch.rows, kBlockRows * latents);
      for (std::size_t i = 0; i < block.count * latents; ++i) change[i] = (own[i] - before[i]) * per_sigma;
      turn_rows(change, block.count, record.change_mean, 0,
                {strips + (of_state + latents) * width, depth, width});
    }
    float* const product = room(block.scratch.product, left_strips * product_.left_width * kBlockRows);
    std::fill_n(product, left_strips * product_.left_width * kBlockRows, 0.0f);
    add_product(prediction_, left_strips, strips, depth, block);
    for (std::size_t k = 0; k < components; ++k) {
      std::copy_n(product + k * kBlockRows, block.count, prediction.row(k).data() + block.begin);
    }
  });
}

// A block of the tensor's rows less their mean, as the first columns of strips of that depth.
void RowProducts::turn_tensor(const TensorView& tensor, const RecordAt& record, const Block& block,
                              std::size_t depth, float* strips) const {
  const std::size_t channels = calibration_.channels(), row_bytes = channels * size_bytes(tensor.dtype);
  // So few rows as floats stay in the first-level cache until they are turned.
  float* const values = room(block.scratch.rows, kTurned * channels);
  for (std::size_t r = 0; r < block.count; r += kTurned) {
    const std::size_t count = std::min(kTurned, block.count - r);
    to_float(tensor.data + (block.begin + r) * row_bytes, tensor.dtype,
             static_cast<std::int64_t>(count * channels), values);
    turn_rows(values, count, record.mean, r, {strips, depth, product_.right_width});
  }
}

bool RowProducts::project(const TensorView& tensor, const RecordAt& record, const Matrix& prediction,
                          Matrix& residual, std::vector<double>& loudness) {
  const std::size_t components = calibration_.components(), channels = calibration_.channels();
  const std::size_t rows = prediction.columns, width = product_.right_width;
  const std::size_t left_strips = product_.left_strips(components);
  if (projection_.empty()) pack_left(calibration_.projection, projection_);
  residual.resize(components, rows);
  loudness.assign(rows, static_cast<double>(record.loudness_bias));
  std::atomic<bool> finite = true;
  for_blocks(rows, [&](const Block& block) {
    float* const strips = room(block.scratch.strips, kBlockRows * channels);
    turn_tensor(tensor, record, block, channels, strips);
    for (std::size_t r = 0; r < block.count && !record.loudness.empty(); r += width) {
      double* const loud = loudness.data() + block.begin + r;
      const std::size_t count = std::min(width, block.count - r);
      const float* value = strips + r * channels;
      for (const float part : record.loudness) {
        for (std::size_t i = 0; i < count; ++i) loud[i] += static_cast<double>(part) * value[i];
        value += width;
      }
    }
    float* const product = room(block.scratch.product, left_strips * product_.left_width * kBlockRows);
    for (std::size_t k = 0; k < components; ++k) {
      const float* const expected = prediction.row(k).data() + block.begin;
      for (std::size_t i = 0; i < block.count; ++i) product[k * kBlockRows + i] = -expected[i];
    }
    add_product(projection_, left_strips, strips, channels, block);
    // What is not finite in a row shows in all of its components.
    bool in_range = true;
    for (std::size_t k = 0; k < components; ++k) {
      in_range &= all_finite({product + k * kBlockRows, block.count});
      std::copy_n(product + k * kBlockRows, block.count, residual.row(k).data() + block.begin);
    }
    if (!in_range) finite = false;
  });
  return finite;
}

std::vector<float> RowProducts::respond(const TensorView& tensor, const RecordAt& record,
                                        const Matrix& response, const StepContext& context,
                                        const Matrix& components) {
  const std::size_t channels = calibration_.channels(), latents = calibration_.latents();
  const std::size_t depth = channels + components.rows + latents, outputs = response.columns;
  // One product with [tensor | y | latents]: what is rebuilt is linear in the latter two.
  Matrix joined = response;
  const Matrix rebuilt = multiply_transposed(transpose(calibration_.reconstruction), response);
  joined.resize(depth, outputs);
  std::ranges::transform(rebuilt.values, joined.row(channels).data(), std::negate());
  const std::size_t left_strips = product_.left_strips(outputs), width = product_.right_width;
  Panel left;
  pack_left(joined, left);
  std::vector<float> answer(components.columns * outputs);
  for_blocks(components.columns, [&](const Block& block) {
    float* const strips = room(block.scratch.strips, kBlockRows * depth);
    turn_tensor(tensor, record, block, depth, strips);
    pack_components(components, block, width, depth, strips + channels * width);
    turn_rows(context.latents.data() + block.begin * latents, block.count, record.latent_mean, 0,
              {strips + (channels + components.rows) * width, depth, width});
    float* const product = room(block.scratch.product, left_strips * product_.left_width * kBlockRows);
    std::fill_n(product, left_strips * product_.left_width * kBlockRows, 0.0f);
    add_product(left, left_strips, strips, depth, block);
    for (std::size_t r = 0; r < block.count; ++r) {
      float* const row = answer.data() + (block.begin + r) * outputs;
      for (std::size_t i = 0; i < outputs; ++i) row[i] = product[i * kBlockRows + r];
    }
  });
  return answer;
}

Tensor RowProducts::rebuild(const RecordAt& record, const StepContext& context, const Matrix& components,
                            DType dtype, const Shape& shape) {
  const std::size_t channels = calibration_.channels(), latents = calibration_.latents();
  const std::size_t depth = calibration_.components() + latents, rows = components.columns;
  const std::size_t right_strips = product_.right_strips(channels),
                    stride = right_strips * product_.right_width;
  const std::size_t width = product_.left_width;
  if (reconstruction_.empty()) {
    reconstruction_.resize(stride * depth);
    pack_strips({.from = calibration_.reconstruction.values.data(),
                 .stride = channels,
                 .depth = depth,
                 .columns = channels,
                 .width = product_.right_width,
                 .strip_size = depth * product_.right_width},
                reconstruction_.data());
  }
  Tensor tensor = Tensor::empty(dtype, shape);
  std::byte* const out = tensor.mutable_data();
  for_blocks(rows, [&](const Block& block) {
    const std::size_t left_strips = product_.left_strips(block.count);
    float* const strips = room(block.scratch.strips, left_strips * width * depth);
    pack_components(components, block, width, depth, strips);
    if (latents > 0) {
      float* const turned = room(block.scratch.rows, kBlockRows * latents);
      turn_rows(context.latents.data() + block.begin * latents, block.count, record.latent_mean, 0,
                {turned, latents, kBlockRows});
      pack_strips({.from = turned,
                   .stride = kBlockRows,
                   .depth = latents,
                   .columns = block.count,
                   .width = width,
                   .strip_size = depth * width},
                  strips + components.rows * width);
    }
    float* const product = room(block.scratch.product, left_strips * width * stride);
    for (std::size_t r = 0; r < block.count; ++r) {
      std::copy(record.mean.begin(), record.mean.end(), product + r * stride);
    }
    product_.add({.left = strips,
                  .right = reconstruction_.data(),
                  .depth = depth,
                  .left_strips = left_strips,
                  .right_strips = right_strips,
                  .out = product,
                  .stride = stride});
    for (std::size_t r = 0; r < block.count; ++r) {
      write_bounded({product + r * stride, channels}, dtype,
                    out + (block.begin + r) * channels * size_bytes(dtype));
    }
  });
  return tensor;
}

}  // namespace pinion::codec
