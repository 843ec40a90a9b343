#pragma once
// What closed_loop found out, as lines for programs and as a table for people. Values and pure functions.

#include <optional>
#include <string>
#include <vector>

#include "bench/loop/lock_step.h"

namespace pinion::bench {

// One job, one coder, one cut. Bytes are of the whole job.
struct LoopResult {
  std::string family, setting;
  int cut = 0;
  LoopScope scope = LoopScope::kImage;
  int prompt = 0;  // line of the file, from 0
  double psnr_db = 0;
  std::optional<double> output_snr_db;
  double image_bytes = 0;
  double text_bytes = 0;                           // both ways, where states come back
  double return_bytes = 0;                         // of what else comes back: the velocity, or image rows
  double latents_bytes = 0;                        // of what tells the other side the latents
  double basis_bytes = 0;                          // sent with the frames
  double image_bits = 0;                           // an element of the image rows
  double index_bits = 0, indexed_frame_bytes = 0;  // of frames whose indices are counted
  double image_asset_bytes = 0, asset_bytes = 0;   // sent once, before the first job
  double model_ms = 0, coding_ms = 0;              // its share of the run
};

// What all results have in common.
struct LoopConditions {
  std::string model, sampler, device, dtype;
  int steps = 0, evaluations = 0, side = 0, batch = 1;
  double sigma_shift = 1, lora_shift = 0;
};

// One JSON object, without a line end.
std::string to_json(const LoopResult& result, const LoopConditions& conditions);

// Means over the prompts, for each scope and cut: every coder at every setting, then bytes at `psnrs`:
// between neighbouring settings of a coder log bytes is taken as linear in the PSNR.
void print_tables(const std::vector<LoopResult>& results, const std::vector<double>& psnrs);

}  // namespace pinion::bench
