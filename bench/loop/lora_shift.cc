#include "bench/loop/lora_shift.h"

#include <cmath>
#include <random>

#include "pinion/base/float_formats.h"
#include "pinion/base/safetensors.h"
#include "pinion/codec/math/matrix.h"

namespace pinion::bench {
namespace {

namespace fs = std::filesystem;

bool is_block_matrix(const SafetensorsEntry& entry) {
  return entry.name.find("transformer_blocks.") != std::string::npos && entry.shape.rank() == 2 &&
         is_float(entry.dtype);
}

codec::Matrix normal_matrix(std::size_t rows, std::size_t columns, std::mt19937_64& engine) {
  std::normal_distribution<float> normal;
  codec::Matrix matrix(rows, columns);
  for (float& value : matrix.values) value = normal(engine);
  return matrix;
}

Tensor shifted(const Tensor& weight, const LoraShift& shift, std::mt19937_64& engine) {
  const auto rank = static_cast<std::size_t>(shift.rank);
  const codec::Matrix a = normal_matrix(rank, static_cast<std::size_t>(weight.shape()[0]), engine);
  const codec::Matrix b = normal_matrix(rank, static_cast<std::size_t>(weight.shape()[1]), engine);
  const codec::Matrix change = codec::multiply_transposed(a, b);
  std::vector<float> values = floats_of(weight);
  const auto factor =
      static_cast<float>(shift.scale * std::sqrt(codec::energy(values) / codec::energy(change.values)));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += factor * change.values[i];
  Tensor out = Tensor::empty(weight.dtype(), weight.shape());
  from_float(values.data(), out.elements(), out.dtype(), out.mutable_data());
  return out;
}

Result<void> write_shifted_file(const fs::path& from, const fs::path& to, const LoraShift& shift,
                                std::mt19937_64& engine) {
  PINION_TRY(const SafetensorsFile file, SafetensorsFile::open(from));
  TensorList tensors;
  for (const SafetensorsEntry& entry : file.header().entries) {
    const Tensor tensor = file.tensor(entry);
    tensors.push_back({entry.name, is_block_matrix(entry) ? shifted(tensor, shift, engine) : tensor});
  }
  return write_safetensors(to, tensors, file.header().metadata);
}

}  // namespace

Result<void> write_shifted_model(const fs::path& model, const LoraShift& shift, const fs::path& out) {
  std::mt19937_64 engine(shift.seed);
  std::error_code failed;
  fs::create_directories(out / "transformer", failed);
  for (const fs::directory_entry& entry : fs::directory_iterator(model, failed)) {
    if (entry.path().filename() == "transformer") continue;
    fs::create_symlink(fs::absolute(entry.path()), out / entry.path().filename(), failed);
  }
  if (failed) return Error{Errc::kIo, out.string() + " cannot be filled: " + failed.message(), ""};
  // In the order of their names, so that a seed means the same change.
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(model / "transformer", failed)) {
    files.push_back(entry.path());
  }
  if (failed) return Error{Errc::kNotFound, model.string() + " is no diffusers folder", ""};
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const fs::path to = out / "transformer" / file.filename();
    if (file.extension() == ".safetensors") {
      PINION_TRY_VOID(write_shifted_file(file, to, shift, engine));
    } else {
      fs::copy_file(file, to, failed);
      if (failed) return Error{Errc::kIo, to.string() + " cannot be written: " + failed.message(), ""};
    }
  }
  return {};
}

}  // namespace pinion::bench
