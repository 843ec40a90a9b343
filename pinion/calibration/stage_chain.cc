#include "pinion/calibration/stage_chain.h"

#include <algorithm>

namespace pinion::calibration {

Result<StageChain> StageChain::load(models::Model& model, const std::vector<int>& cuts,
                                    const models::StageOptions& options, int max_stage_blocks) {
  PINION_ASSERT(max_stage_blocks >= 1);
  int before = 0;
  for (const int cut : cuts) {
    if (cut <= before || cut >= model.block_count()) {
      return Error{Errc::kInvalidArgument,
                   "cannot calibrate cut " + std::to_string(cut) + ": cuts must rise and lie between 1 and " +
                       std::to_string(model.block_count() - 1),
                   "at cut 0 only latents cross, which need no calibration"};
    }
    before = cut;
  }
  StageChain chain;
  for (int begin = 0; begin < model.block_count();) {
    const auto next_cut = std::upper_bound(cuts.begin(), cuts.end(), begin);
    const int limit = next_cut == cuts.end() ? model.block_count() : *next_cut;
    const int end = std::min(limit, begin + max_stage_blocks);
    Link link;
    PINION_TRY(link.stage, model.load_stage({begin, end}, options));
    if (const auto at = std::find(cuts.begin(), cuts.end(), begin); at != cuts.end()) {
      link.cut = static_cast<std::size_t>(at - cuts.begin());
    }
    chain.links_.push_back(std::move(link));
    begin = end;
  }
  return chain;
}

Result<void> StageChain::begin_job(const models::JobConstants& constants) {
  for (Link& link : links_) {
    link.input = {};
    PINION_TRY(link.job, link.stage->begin_job(constants));
  }
  return {};
}

Result<ChainStep> StageChain::step(const std::vector<float>& sigma, const Tensor& latents) {
  ChainStep result;
  TensorList state{{"latents", latents}};
  for (Link& link : links_) {
    PINION_ASSERT(link.job != nullptr);
    if (link.cut) result.states.push_back(state);
    link.input = {.sigma = sigma, .state = std::move(state)};
    PINION_TRY(state, link.job->step(link.input));
  }
  result.velocity = state.front().tensor;
  return result;
}

std::size_t StageChain::link_at(std::size_t cut) const {
  const auto link = std::ranges::find_if(links_, [&](const Link& at) { return at.cut == cut; });
  PINION_ASSERT(link != links_.end());
  return static_cast<std::size_t>(link - links_.begin());
}

Result<TensorList> StageChain::run(std::size_t begin, std::size_t end, const std::vector<float>& sigma,
                                   TensorList state) {
  for (std::size_t i = begin; i < end; ++i) {
    PINION_ASSERT(links_[i].job != nullptr);
    PINION_TRY(state, links_[i].job->step({.sigma = sigma, .state = std::move(state)}));
  }
  return state;
}

Result<TensorList> StageChain::state_at(std::size_t cut, const std::vector<float>& sigma,
                                        const Tensor& latents) {
  return run(0, link_at(cut), sigma, {{"latents", latents}});
}

Result<Tensor> StageChain::velocity_from(std::size_t cut, const std::vector<float>& sigma, TensorList state) {
  PINION_TRY(const TensorList output, run(link_at(cut), links_.size(), sigma, std::move(state)));
  return output.front().tensor;
}

Result<void> StageChain::pull_back(const TensorList& cotangents, const Visitor& visit) {
  // Link by link from the end, all cotangents through each, so that one link's activations are held at a
  // time.
  std::vector<TensorList> carried;
  for (const NamedTensor& cotangent : cotangents) carried.push_back({{"velocity", cotangent.tensor}});
  std::size_t cuts_left = 0;
  for (const Link& link : links_) cuts_left += link.cut.has_value();
  for (auto link = links_.rbegin(); cuts_left > 0; ++link) {
    PINION_TRY(const auto recorded, link->job->linearise(link->input));
    for (std::size_t i = 0; i < carried.size(); ++i) {
      PINION_TRY(carried[i], recorded->pull_back(carried[i]));
      if (link->cut) PINION_TRY_VOID(visit(*link->cut, i, carried[i]));
    }
    cuts_left -= link->cut.has_value();
  }
  return {};
}

}  // namespace pinion::calibration
