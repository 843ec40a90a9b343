#include "pinion/models/export_model.h"

#include "pinion/models/family.h"
#include "pinion/models/relayout.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models {
namespace {

namespace fs = std::filesystem;

using Written = std::vector<fs::path>;

struct Source {
  std::string name;
  Weights weights;
  const Family* family;
};

// What the exported files are called after: the model's folder or its file without ending.
std::string model_name(const fs::path& source) {
  std::error_code failure;
  fs::path path = fs::weakly_canonical(source, failure);
  if (failure) path = source;
  if (path.filename() == "transformer") path = path.parent_path();
  const std::string name = fs::is_directory(path, failure) ? path.filename().string() : path.stem().string();
  return name.empty() ? "model" : name;
}

Result<void> export_transformer(const Source& source, std::string_view layout, const fs::path& folder,
                                Written& written) {
  PINION_TRY(const FileLayoutPlan plan, source.family->plan_layout(source.weights, layout));
  PINION_TRY(const Checkpoint checkpoint, source.family->open_checkpoint(source.weights));
  PINION_TRY(const Relaid relaid, relay(checkpoint, plan.tensors));
  fs::path file = folder / "diffusion_models" / (source.name + ".safetensors");
  if (!plan.config_json.empty()) {
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors";
    written.push_back(folder / "transformer" / "config.json");
    PINION_TRY_VOID(write_file(written.back(), as_bytes(plan.config_json)));
  }
  PINION_TRY_VOID(write_safetensors(file, relaid.tensors, relaid.metadata));
  written.push_back(std::move(file));
  return {};
}

Result<void> export_vae(const Family& family, const fs::path& folder, const fs::path& file) {
  PINION_TRY(const Weights weights, Weights::open(folder));
  PINION_TRY(const TensorList tensors, family.single_file_vae(weights));
  return write_safetensors(file, tensors, {{"format", "pt"}});
}

Result<void> export_text_encoder(const fs::path& folder, const fs::path& file) {
  PINION_TRY(const Weights weights, Weights::open(folder));
  TensorList tensors;
  for (const std::string& name : weights.names()) {
    PINION_TRY(Tensor tensor, weights.tensor(name));
    tensors.push_back({name, std::move(tensor)});
  }
  return write_safetensors(file, tensors, {{"format", "pt"}});
}

Result<Written> export_all(const fs::path& path, std::string_view layout, const fs::path& folder) {
  PINION_TRY(Weights weights, Weights::open(transformer_path(path)));
  PINION_TRY(const Family* family, recognise(weights));
  const Source source{model_name(path), std::move(weights), family};
  Written written;
  PINION_TRY_VOID(export_transformer(source, layout, folder, written));
  if (layout != "bfl") return written;
  std::error_code ignored;
  if (fs::is_directory(path / "vae", ignored)) {
    written.push_back(folder / "vae" / (source.name + "-vae.safetensors"));
    PINION_TRY_VOID(export_vae(*family, path / "vae", written.back()));
  }
  if (fs::is_directory(path / "text_encoder", ignored)) {
    written.push_back(folder / "text_encoders" / (source.name + "-text-encoder.safetensors"));
    PINION_TRY_VOID(export_text_encoder(path / "text_encoder", written.back()));
  }
  return written;
}

}  // namespace

Result<Written> export_model(const fs::path& source, std::string_view layout, const fs::path& folder) {
  return caught([&] { return export_all(source, layout, folder); });
}

}  // namespace pinion::models
