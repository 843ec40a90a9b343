// pinion codec: the tensor codec on files.

#include <cstdio>
#include <memory>

#include "pinion/cli/codec_bench.h"
#include "pinion/cli/codec_files.h"
#include "pinion/cli/codec_info.h"
#include "pinion/cli/command.h"

namespace pinion::cli {
namespace {

constexpr int kMaxThreads = 256;

struct Options {
  CodecInputOptions input;
  std::filesystem::path out;
  std::string mode;
  std::vector<std::string> modes;
  std::string device = "cpu";
  bool json = false;
};

int print(const Result<std::string>& text, const char* end) {
  if (!text.ok()) return report(text.error());
  std::printf("%s%s", text->c_str(), end);
  return kDone;
}

Result<Device> device_of(const Options& options) {
  if (const auto device = device_from_name(options.device)) return *device;
  return Error{Errc::kInvalidArgument, "--device '" + options.device + "' is neither cpu nor cuda:N", ""};
}

Result<std::string> encode(const Options& options) {
  EncodeFileRequest request{options.input, options.out, {}};
  PINION_TRY(request.input.device, device_of(options));
  PINION_TRY(request.profile, codec::parse_profile(options.mode));
  return encode_file(request);
}

Result<std::string> decode(const Options& options) {
  PINION_TRY(const Device device, device_of(options));
  const CodecInputOptions& files = options.input;
  return decode_file({files.in, options.out, files.calibration, files.context, device, files.threads});
}

Result<std::string> bench(const Options& options) {
  CodecBenchRequest request{options.input, {}};
  PINION_TRY(request.input.device, device_of(options));
  std::vector<std::string> modes = options.modes;
  if (modes.empty()) {
    modes = {"lossless", "fidelity:20"};
    if (!options.input.calibration.empty()) modes.emplace_back("calibrated:30");
  }
  for (const std::string& mode : modes) {
    PINION_TRY(const codec::Profile profile, codec::parse_profile(mode));
    request.profiles.push_back(profile);
  }
  PINION_TRY(const std::vector<CodecBenchRow> rows, bench_codec(request));
  return options.json ? bench_json(rows) : bench_table(rows);
}

constexpr const char* kModes =
    "raw, lossless, bounded:ERROR or bounded:rel:ERROR (of each channel's root mean square), int8, int4, "
    "fidelity:DB (such as fidelity:20) or cos:VALUE (such as cos:.995), and with --calibration "
    "calibrated:DB (such as calibrated:30) or calibrated:BYTES a step (such as calibrated:64kB)";

constexpr const char* kExamples =
    "A job's states, recorded and coded:\n"
    "  pinion generate --model models/tiny-flux2 --prompt \"a blue star\" --record job.safetensors "
    "--record-cut 3\n"
    "  pinion codec bench job.safetensors --sequence --mode lossless --mode int8 --mode fidelity:20\n"
    "  pinion codec encode job.safetensors job.pnf --sequence --mode fidelity:20 --threads 2\n"
    "  pinion codec info job.pnf\n"
    "  pinion codec decode job.pnf decoded.safetensors\n"
    "By what the rest of the model hears (docs/calibration.md):\n"
    "  pinion calibrate --model models/tiny-flux2 --cut 3 --out cut3.pnf\n"
    "  pinion codec bench job.safetensors --sequence --calibration cut3.pnf --cut 3\n"
    "  pinion codec encode job.safetensors job.pnf --sequence --calibration cut3.pnf --mode calibrated:30\n"
    "  pinion codec decode job.pnf decoded.safetensors --calibration cut3.pnf --context job.safetensors";

void add_coder(CLI::App& command, Options& options) {
  command
      .add_option("--device", options.device,
                  "Where the codec runs: cpu, or cuda:N, which encodes all modes but raw and "
                  "calibrated:BYTES and decodes all")
      ->capture_default_str();
  command
      .add_option("--threads", options.input.threads,
                  "Threads that share the work on a tensor on the CPU; they change no byte")
      ->check(CLI::Range(1, kMaxThreads))
      ->capture_default_str();
}

// What encode and bench have in common.
void add_input(CLI::App& command, Options& options) {
  CodecInputOptions& input = options.input;
  command.add_flag("--sequence", input.choice.sequences,
                   "Tensors whose names differ only in a last .tN are successive steps of one stream");
  command.add_option("--cut", input.choice.cut,
                     "Only tensors named cutN.*, and those that name no cut but not latents and sigmas");
  command.add_option("--stream", input.choice.kind, "Only this stream, such as image of cut3.image.t0");
  command.add_option("--calibration", input.calibration,
                     "File that `pinion calibrate` made, for calibrated modes");
  command.add_option("--context", input.context,
                     "safetensors file with latents.tN and sigmas, which both ends of a calibrated stream "
                     "know [the input]");
  command.add_flag("--sanitize", input.sanitises,
                   "Code NaN as 0 and an infinity as the largest finite value: fidelity, int8, int4 and "
                   "calibrated refuse them, raw, lossless and bounded keep them");
  add_coder(command, options);
}

}  // namespace

void add_codec_command(CLI::App& app, Action& action) {
  const auto options = std::make_shared<Options>();
  CodecInputOptions& input = options->input;
  CLI::App* codec = app.add_subcommand("codec", "The tensor codec on files: encode, decode, info, bench");
  codec->require_subcommand(1);
  codec->footer(kExamples);

  CLI::App* encoding =
      codec->add_subcommand("encode", "Code the tensors of a .safetensors file into a .pnf file");
  encoding->add_option("IN", input.in, "The .safetensors file")->required();
  encoding->add_option("OUT", options->out, "The .pnf file to write")->required();
  encoding->add_option("--mode", options->mode, kModes)->required();
  add_input(*encoding, *options);
  encoding->footer(
      "Example:\n"
      "  pinion codec encode job.safetensors job.pnf --sequence --mode fidelity:20\n"
      "  pinion codec encode job.safetensors job.pnf --sequence --calibration cut3.pnf --cut 3 --mode "
      "calibrated:30");
  encoding->callback([options, &action] { action = [options] { return print(encode(*options), "\n"); }; });

  CLI::App* decoding = codec->add_subcommand("decode", "Turn a .pnf file back into a .safetensors file");
  decoding->add_option("IN", input.in, "The .pnf file")->required();
  decoding->add_option("OUT", options->out, "The .safetensors file to write")->required();
  decoding->add_option("--calibration", input.calibration, "The file that calibrated frames were coded with");
  decoding->add_option("--context", input.context,
                       "Their context: a safetensors file with latents.tN and sigmas");
  add_coder(*decoding, *options);
  decoding->footer(
      "Example:\n"
      "  pinion codec decode job.pnf decoded.safetensors\n"
      "  pinion codec decode job.pnf decoded.safetensors --calibration cut3.pnf --context job.safetensors");
  decoding->callback([options, &action] { action = [options] { return print(decode(*options), "\n"); }; });

  CLI::App* info = codec->add_subcommand("info", "Show what a .pnf file holds: frames, bases, calibrations");
  info->add_option("FILE", input.in, "The .pnf file")->required();
  info->add_flag("--json", options->json, "Print JSON");
  info->footer("Example:\n  pinion codec info cut3.pnf");
  info->callback([options, &action] {
    action = [options] { return print(describe_file(options->input.in, options->json), ""); };
  });

  CLI::App* bench_command =
      codec->add_subcommand("bench", "Measure size, error and speed of the codec on a file's tensors");
  bench_command->add_option("FILE", input.in, "The .safetensors file")->required();
  bench_command->add_option("--mode", options->modes,
                            std::string(kModes) +
                                "; repeat for several [lossless, fidelity:20 and, with "
                                "--calibration, calibrated:30]");
  add_input(*bench_command, *options);
  bench_command->add_flag("--json", options->json, "Print JSON");
  bench_command->footer(
      "Example:\n"
      "  pinion codec bench job.safetensors --sequence --mode lossless --mode int8 --threads 2\n"
      "  pinion codec bench job.safetensors --sequence --calibration cut3.pnf --cut 3 --stream image\n"
      "On a GPU, where tensor and frame are in its memory while time is taken:\n"
      "  pinion codec bench job.safetensors --sequence --mode lossless --mode int8 --device cuda:0");
  bench_command->callback([options, &action] { action = [options] { return print(bench(*options), ""); }; });
}

}  // namespace pinion::cli
