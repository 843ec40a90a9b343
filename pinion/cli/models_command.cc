// pinion models: what models are there; pinion models export: the same weights in another file layout.

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "pinion/cli/command.h"
#include "pinion/models/export_model.h"
#include "pinion/models/model_list.h"

namespace pinion::cli {
namespace {

struct ListOptions {
  std::filesystem::path folder = "models";
  bool json = false;
  bool hash = false;
};

struct ExportOptions {
  std::filesystem::path source, out;
  std::string layout;
};

std::string size_text(std::size_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.1f} MB", value / 1e6);
  return fmt::format("{:.1f} kB", value / 1e3);
}

struct BlockKind {
  std::string name;
  int count = 0;
  std::size_t bytes = 0;  // of the kind's first block
};

// Blocks of one kind follow each other and have one size.
std::vector<BlockKind> block_kinds(const models::ModelInfo& info) {
  std::vector<BlockKind> kinds;
  for (const models::BlockInfo& block : info.blocks) {
    if (kinds.empty() || kinds.back().name != block.kind)
      kinds.push_back({block.kind, 0, block.weight_bytes});
    ++kinds.back().count;
  }
  return kinds;
}

void print_model(const models::ListedModel& model) {
  fmt::print("{}\n  {} {}, {} weights, {}\n", model.path.string(), model.info.family, model.info.variant,
             name(model.info.weight_dtype), size_text(model.total_bytes));
  int first = 0;
  for (const BlockKind& kind : block_kinds(model.info)) {
    const std::string which = kind.count == 1 ? fmt::format("block {}", first)
                                              : fmt::format("blocks {} to {}", first, first + kind.count - 1);
    fmt::print("  {}: {}, {} each\n", which, kind.name, size_text(kind.bytes));
    first += kind.count;
  }
  fmt::print("  shared {}, embed {}, finish {}\n  hash {}\n", size_text(model.info.shared_bytes),
             size_text(model.info.embed_bytes), size_text(model.info.finish_bytes),
             model.hash.empty() ? "not computed yet (--hash)" : model.hash);
}

nlohmann::ordered_json to_json(const models::ListedModel& model) {
  nlohmann::ordered_json blocks = nlohmann::ordered_json::array();
  for (const models::BlockInfo& block : model.info.blocks)
    blocks.push_back({{"kind", block.kind}, {"bytes", block.weight_bytes}});
  return {{"path", model.path.string()},
          {"family", model.info.family},
          {"variant", model.info.variant},
          {"dtype", name(model.info.weight_dtype)},
          {"bytes", model.total_bytes},
          {"blocks", std::move(blocks)},
          {"shared_bytes", model.info.shared_bytes},
          {"embed_bytes", model.info.embed_bytes},
          {"finish_bytes", model.info.finish_bytes},
          {"latent_channels", model.info.latent_channels},
          {"context_channels", model.info.context_channels},
          {"takes_guidance", model.info.takes_guidance},
          {"hash", model.hash.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(model.hash)}};
}

void print_json(const models::ModelList& list) {
  nlohmann::ordered_json all = {{"models", nlohmann::ordered_json::array()},
                                {"others", nlohmann::ordered_json::array()}};
  for (const models::ListedModel& model : list.models) all["models"].push_back(to_json(model));
  for (const models::ListedOther& other : list.others) {
    all["others"].push_back(
        {{"path", other.path.string()}, {"what", other.what}, {"damaged", other.damaged}});
  }
  fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

int run_list(const ListOptions& options) {
  const auto list = models::list_models(options.folder, options.hash);
  if (!list.ok()) return report(list.error());
  if (options.json) {
    print_json(*list);
    return kDone;
  }
  for (const models::ListedModel& model : list->models) print_model(model);
  if (list->models.empty())
    fmt::print("no diffusion model that can be run lies under {}\n", options.folder.string());
  for (const models::ListedOther& other : list->others) {
    fmt::print("{}{}: {}\n", other.damaged ? "cannot be read: " : "other: ", other.path.string(), other.what);
  }
  return kDone;
}

int run_export(const ExportOptions& options) {
  const auto written = models::export_model(options.source, options.layout, options.out);
  if (!written.ok()) return report(written.error());
  for (const std::filesystem::path& file : *written) fmt::print("{}\n", file.string());
  return kDone;
}

}  // namespace

void add_models_command(CLI::App& app, Action& action) {
  auto list = std::make_shared<ListOptions>();
  CLI::App* command = app.add_subcommand("models", "What models are there, and how big their blocks are");
  command->add_option("folder", list->folder, "Folder to search, or one model")
      ->envname("PINION_MODELS")
      ->capture_default_str();
  command->add_flag("--json", list->json, "For programs");
  command->add_flag("--hash", list->hash, "Compute the content hash (reads every weight once)");

  auto exported = std::make_shared<ExportOptions>();
  CLI::App* exporter = command->add_subcommand("export", "Write a model's weights in another file layout");
  exporter->add_option("source", exported->source, "Model: a diffusers folder or a single file")->required();
  exporter
      ->add_option("--layout", exported->layout,
                   "bfl: single files for ComfyUI; diffusers: a transformer folder")
      ->required()
      ->check(CLI::IsMember({"bfl", "diffusers"}));
  exporter->add_option("--out", exported->out, "Folder to write into")->required();

  command->callback([list, exporter, &action] {
    if (!exporter->parsed()) action = [list] { return run_list(*list); };
  });
  exporter->callback([exported, &action] { action = [exported] { return run_export(*exported); }; });
}

}  // namespace pinion::cli
