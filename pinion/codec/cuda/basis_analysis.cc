#include "pinion/codec/cuda/basis_analysis.h"

#include "pinion/codec/cuda/device_upload.h"

namespace pinion::codec::cuda {
namespace {

// What products of components count in the energy of the rows inside of the basis. Components y of an
// analysis A' that was rounded are not quite those of A, and the energy is 2 <B x, y> - <y, G y> with B x
// about (G - G (A' - A) B^T G) y, which makes G - G S G of products of y, with S = (A' - A) A^T and that
// turned.
Matrix inside_weights(const BasisFit& fit, const Matrix& rounding) {
  const Matrix columns = transpose(fit.basis->rows);
  Matrix gram = multiply_transposed(columns, columns);
  Matrix change = multiply_transposed(rounding, fit.analysis);  // [components, components]
  const Matrix turned = transpose(change);
  for (std::size_t i = 0; i < change.values.size(); ++i) change.values[i] += turned.values[i];
  const Matrix correction = multiply_transposed(gram, multiply_transposed(change, gram));
  for (std::size_t i = 0; i < gram.values.size(); ++i) gram.values[i] -= correction.values[i];
  return gram;
}

}  // namespace

Result<void> BasisAnalysis::make(std::shared_ptr<const BasisFit> fit, int parts) {
  fit_.reset();
  const Matrix& analysis = fit->analysis;  // [channels, components]
  const std::size_t channels = analysis.rows, components = analysis.columns;
  arrays_.pitch = static_cast<std::uint32_t>((channels + 7) / 8 * 8);
  std::vector<__nv_bfloat16> upper(components * arrays_.pitch, __float2bfloat16_rn(0)), lower = upper;
  Matrix rounding(channels, components);
  for (std::size_t c = 0; c < channels; ++c) {
    const auto row = analysis.row(c);
    for (std::size_t k = 0; k < components; ++k) {
      const std::size_t at = k * arrays_.pitch + c;
      upper[at] = __float2bfloat16_rn(row[k]);
      lower[at] = __float2bfloat16_rn(row[k] - __bfloat162float(upper[at]));
      rounding.row(c)[k] =
          __bfloat162float(upper[at]) - row[k] + (parts == 2 ? __bfloat162float(lower[at]) : 0);
    }
  }
  Matrix inside = inside_weights(*fit, rounding);
  std::vector<float> own;
  for (std::size_t k = 0; k < components; ++k) own.push_back(std::exchange(inside.row(k)[k], 0.0f));
  Upload upload;
  upload.add(arrays_.parts[0], std::move(upper));
  upload.add(arrays_.parts[1], std::move(lower));
  upload.add(arrays_.weights, std::vector<float>(fit->weights.begin(), fit->weights.end()));
  upload.add(arrays_.shared, std::move(inside.values));
  upload.add(arrays_.own, std::move(own));
  PINION_TRY_VOID(upload.finish(memory_));
  fit_ = std::move(fit);
  return {};
}

}  // namespace pinion::codec::cuda
