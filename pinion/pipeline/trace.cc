#include "pinion/pipeline/trace.h"

#include <map>
#include <nlohmann/json.hpp>

namespace pinion::pipeline {
namespace {

using Json = nlohmann::ordered_json;

// Collects complete events ("ph": "X") and gives every party a row of its own.
class Timeline {
 public:
  void add(const std::string& row, const std::string& what, double duration_ms, Json details) {
    if (duration_ms <= 0) return;
    events_.push_back({{"name", what},
                       {"ph", "X"},
                       {"pid", 1},
                       {"tid", row_number(row)},
                       {"ts", now_ms_ * 1000},
                       {"dur", duration_ms * 1000},
                       {"args", std::move(details)}});
    now_ms_ += duration_ms;
  }
  void jump_to(double ms) { now_ms_ = ms; }
  Json take() && { return std::move(events_); }

 private:
  int row_number(const std::string& row) {
    const auto [found, is_new] = rows_.emplace(row, static_cast<int>(rows_.size()) + 1);
    if (is_new) {
      events_.push_back({{"name", "thread_name"},
                         {"ph", "M"},
                         {"pid", 1},
                         {"tid", found->second},
                         {"args", {{"name", row}}}});
    }
    return found->second;
  }

  Json events_ = Json::array();
  std::map<std::string, int> rows_;
  double now_ms_ = 0;
};

}  // namespace

nlohmann::ordered_json to_trace(const GenerateResult& result) {
  Timeline timeline;
  double start_ms = 0;
  for (const StepReport& step : result.steps) {
    timeline.jump_to(start_ms);
    const Json which = {{"step", step.step}, {"sigma", step.sigma}};
    timeline.add("client", "blocks", step.trace.local_ms, which);
    for (const client::HopStats& hop : step.trace.hops) {
      timeline.add(hop.from, "encode", hop.encode_ms, which);
      timeline.add(hop.from + " to " + hop.to, "wire", hop.wire_ms,
                   {{"step", step.step}, {"bytes", hop.message_bytes}});
      timeline.add(hop.to, "decode", hop.decode_ms, which);
      timeline.add(hop.to, "blocks", hop.compute_ms, which);
    }
    start_ms += step.total_ms;
  }
  return {{"traceEvents", std::move(timeline).take()}, {"displayTimeUnit", "ms"}};
}

}  // namespace pinion::pipeline
