#include "pinion/pipeline/report.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace pinion::pipeline {
namespace {

using Json = nlohmann::ordered_json;

bool is_hidden_state(const client::StreamStats& stream) {
  return stream.name != "latents" && stream.name != "velocity";
}

// JSON has no infinity: exact streams have a null SNR.
Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json to_json(const client::StreamStats& stream) {
  const codec::FrameStats& frame = stream.frame;
  return {{"name", stream.name},
          {"bytes", frame.frame_bytes},
          {"basis_bytes", frame.basis_bytes},
          {"raw_bytes", frame.tensor_bytes},
          {"elements", frame.elements},
          {"bits_per_element", frame.elements == 0 ? 0.0
                                                   : 8.0 * static_cast<double>(frame.frame_bytes) /
                                                         static_cast<double>(frame.elements)},
          {"snr_db", finite(frame.snr_db)},
          {"centred_cosine", frame.cosine},
          {"output_snr_db", frame.output_snr_db},
          {"max_error", frame.max_error},
          {"key_frame", frame.key_frame}};
}

Json to_json(const client::HopStats& hop) {
  Json streams = Json::array();
  for (const client::StreamStats& stream : hop.streams) streams.push_back(to_json(stream));
  return {{"from", hop.from},
          {"to", hop.to},
          {"message_bytes", hop.message_bytes},
          {"encode_ms", hop.encode_ms},
          {"wire_ms", hop.wire_ms},
          {"decode_ms", hop.decode_ms},
          {"compute_ms", hop.compute_ms},
          {"streams", std::move(streams)}};
}

Json to_json(const StepReport& step) {
  Json hops = Json::array();
  for (const client::HopStats& hop : step.trace.hops) hops.push_back(to_json(hop));
  return {{"step", step.step},
          {"sigma", step.sigma},
          {"total_ms", step.total_ms},
          {"local_ms", step.trace.local_ms},
          {"remote_ms", step.trace.remote_ms},
          {"hops", std::move(hops)}};
}

Json to_json(const Comparison& comparison) {
  Json pictures = Json::array();
  for (const PictureDifference& picture : comparison.pictures) {
    pictures.push_back({{"psnr_db", finite(picture.psnr_db)}, {"max_error", picture.max_error}});
  }
  return {{"latents_identical", comparison.latents_identical},
          {"local_ms", comparison.local_ms},
          {"pictures", std::move(pictures)}};
}

Json to_json(const Totals& totals) {
  return {{"bytes_up", totals.bytes_up},
          {"bytes_down", totals.bytes_down},
          {"bytes_between_workers", totals.bytes_between},
          {"basis_bytes", totals.basis_bytes},
          {"state_bytes", totals.state_bytes},
          {"state_bits_per_element", totals.state_bits_per_element()},
          {"local_ms", totals.local_ms},
          {"remote_compute_ms", totals.remote_compute_ms},
          {"encode_ms", totals.encode_ms},
          {"wire_ms", totals.wire_ms},
          {"decode_ms", totals.decode_ms},
          {"denoise_ms", totals.denoise_ms}};
}

Json to_json(const codec::DirectionChoice& choice) {
  Json trials = Json::array();
  for (const codec::CodecTrial& trial : choice.trials) {
    Json entry{{"codec", codec::to_string(trial.profile)}};
    if (!trial.why_not.empty()) {
      entry["why_not"] = trial.why_not;
    } else if (choice.link) {
      entry["bytes"] = trial.bytes;
      entry["encode_ms"] = trial.encode_ms;
      entry["decode_ms"] = trial.decode_ms;
      entry["way_back_ms"] = trial.way_back_ms;
      entry["expected_ms"] = expected_ms(trial, *choice.link);
      entry["pays_below_bytes_per_s"] = finite(pays_below(trial, choice.trials.front()));
    }
    trials.push_back(std::move(entry));
  }
  Json json{{"codec", codec::to_string(choice.profile())}};
  if (choice.link) {
    json["bytes_per_s"] = choice.link->bytes_per_s;
    json["round_trip_ms"] = choice.link->round_trip_ms;
  }
  json["trials"] = std::move(trials);
  return json;
}

Json to_json(const codec::CodecChoice& choice) {
  Json json = to_json(static_cast<const codec::DirectionChoice&>(choice));
  if (choice.link) json["choosing_ms"] = choice.choosing_ms;
  if (choice.way_back) json["way_back"] = to_json(*choice.way_back);
  json["note"] = choice.note;
  return json;
}

}  // namespace

Totals sum_up(const GenerateResult& result) {
  Totals totals;
  for (const StepReport& step : result.steps) {
    totals.local_ms += step.trace.local_ms;
    totals.denoise_ms += step.total_ms;
    for (const client::HopStats& hop : step.trace.hops) {
      if (hop.from == "client") {
        totals.bytes_up += hop.message_bytes;
      } else if (hop.to == "client") {
        totals.bytes_down += hop.message_bytes;
      } else {
        totals.bytes_between += hop.message_bytes;
      }
      totals.remote_compute_ms += hop.compute_ms;
      totals.encode_ms += hop.encode_ms;
      totals.decode_ms += hop.decode_ms;
      totals.wire_ms += hop.wire_ms;
      for (const client::StreamStats& stream : hop.streams) {
        totals.basis_bytes += stream.frame.basis_bytes;
        if (!is_hidden_state(stream)) continue;
        totals.state_bytes += stream.frame.frame_bytes;
        totals.state_elements += stream.frame.elements;
      }
    }
  }
  return totals;
}

nlohmann::ordered_json to_json(const GenerateResult& result) {
  const GenerateRequest& request = result.request;
  Json placement = {{"cut", request.split.cut},
                    {"local_blocks", {result.placement.local.begin, result.placement.local.end}},
                    {"local_weight_bytes", result.local_weight_bytes},
                    {"workers", Json::array()}};
  for (std::size_t i = 0; i < result.placement.remote.size(); ++i) {
    const models::BlockRange range = result.placement.remote[i];
    Json worker = {{"blocks", {range.begin, range.end}}};
    if (i < result.workers.size()) {
      worker["address"] = result.workers[i].worker;
      worker["device"] = result.workers[i].device;
      worker["weight_bytes"] = result.workers[i].weight_bytes;
      worker["load_ms"] = result.workers[i].load_ms;
    }
    placement["workers"].push_back(std::move(worker));
  }
  Json steps = Json::array();
  for (const StepReport& step : result.steps) steps.push_back(to_json(step));
  Json report = {{"model", request.model.string()},
                 {"prompt", request.prompt},
                 {"width", *request.width},
                 {"height", *request.height},
                 {"steps", *request.steps},
                 {"guidance", *request.guidance},
                 {"seed", request.seed},
                 {"batch", request.batch},
                 {"device", name(request.device)},
                 {"dtype", name(*request.dtype)},
                 {"codec", codec::to_string(request.split.codec)},
                 {"placement", std::move(placement)},
                 {"phases_ms",
                  {{"connect", result.connect_ms},
                   {"text", result.text_ms},
                   {"load", result.load_ms},
                   {"decode", result.decode_ms},
                   {"total", result.total_ms}}},
                 {"per_step", std::move(steps)},
                 {"totals", to_json(sum_up(result))}};
  if (request.split.velocity_codec) {
    report["velocity_codec"] = codec::to_string(*request.split.velocity_codec);
  }
  if (result.codec_choice) report["codec_choice"] = to_json(*result.codec_choice);
  if (result.comparison) report["comparison"] = to_json(*result.comparison);
  return report;
}

}  // namespace pinion::pipeline
