// pinion codec: the tensor codec on files.

#include <cstdio>
#include <memory>

#include "pinion/cli/codec_bench.h"
#include "pinion/cli/codec_files.h"
#include "pinion/cli/command.h"

namespace pinion::cli {
namespace {

struct Options {
  std::filesystem::path in, out;
  std::string mode;
  std::vector<std::string> modes;
  bool sequences = false, json = false;
};

int print(const Result<std::string>& text, const char* end) {
  if (!text.ok()) return report(text.error());
  std::printf("%s%s", text->c_str(), end);
  return kDone;
}

Result<std::string> encode(const Options& options) {
  PINION_TRY(const codec::Profile profile, codec::parse_profile(options.mode));
  return encode_file({options.in, options.out, profile, options.sequences});
}

Result<std::string> bench(const Options& options) {
  CodecBenchRequest request{options.in, {}, options.sequences};
  for (const std::string& mode : options.modes) {
    PINION_TRY(const codec::Profile profile, codec::parse_profile(mode));
    request.profiles.push_back(profile);
  }
  PINION_TRY(const std::vector<CodecBenchRow> rows, bench_codec(request));
  return options.json ? bench_json(rows) : bench_table(rows);
}

constexpr const char* kModes =
    "raw, lossless, bounded:ERROR or bounded:rel:ERROR (of each channel's root mean square), int8, int4, "
    "fidelity:DB (such as fidelity:20) or cos:VALUE (such as cos:.995)";
constexpr const char* kSequence =
    "Tensors whose names differ only in a last .tN are successive steps of one stream";

}  // namespace

void add_codec_command(CLI::App& app, Action& action) {
  const auto options = std::make_shared<Options>();
  CLI::App* codec = app.add_subcommand("codec", "The tensor codec on files: encode, decode, info, bench");
  codec->require_subcommand(1);

  CLI::App* encoding =
      codec->add_subcommand("encode", "Code the tensors of a .safetensors file into a .pnf file");
  encoding->add_option("IN", options->in, "The .safetensors file")->required();
  encoding->add_option("OUT", options->out, "The .pnf file to write")->required();
  encoding->add_option("--mode", options->mode, kModes)->required();
  encoding->add_flag("--sequence", options->sequences, kSequence);
  encoding->callback([options, &action] { action = [options] { return print(encode(*options), "\n"); }; });

  CLI::App* decoding = codec->add_subcommand("decode", "Turn a .pnf file back into a .safetensors file");
  decoding->add_option("IN", options->in, "The .pnf file")->required();
  decoding->add_option("OUT", options->out, "The .safetensors file to write")->required();
  decoding->callback([options, &action] {
    action = [options] { return print(decode_file(options->in, options->out), "\n"); };
  });

  CLI::App* info = codec->add_subcommand("info", "Show what a .pnf file holds");
  info->add_option("FILE", options->in, "The .pnf file")->required();
  info->add_flag("--json", options->json, "Print JSON");
  info->callback([options, &action] {
    action = [options] { return print(describe_file(options->in, options->json), ""); };
  });

  CLI::App* bench_command =
      codec->add_subcommand("bench", "Measure size, error and speed of the codec on a file's tensors");
  bench_command->add_option("FILE", options->in, "The .safetensors file")->required();
  options->modes = {"lossless", "fidelity:20"};
  bench_command->add_option("--mode", options->modes, std::string(kModes) + "; repeat for several")
      ->capture_default_str();
  bench_command->add_flag("--sequence", options->sequences, kSequence);
  bench_command->add_flag("--json", options->json, "Print JSON");
  bench_command->callback([options, &action] { action = [options] { return print(bench(*options), ""); }; });
}

}  // namespace pinion::cli
