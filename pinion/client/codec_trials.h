#pragma once
// `--codec auto`: the codecs that come into question, each tried on the state of a job's first step, and the
// one that gets it to the far end soonest (pinion/codec/break_even.h). One thread; blocks while it codes.

#include "pinion/client/calibrated_fit.h"
#include "pinion/codec/basis_store.h"
#include "pinion/codec/step_stream.h"
#include "pinion/codec/stream_split.h"

namespace pinion::client {

// The job that a codec is wanted for.
struct TrialOf {
  const RemotePlan& plan;
  const RemoteConstants& constants;
  const codec::StateStreams& streams;  // if it is calibrated
  WorkersCan workers;
};

// Codes and decodes the request's states with each candidate and chooses. Decoding is timed here, so a worker
// is taken to be as fast as this machine, and each further hop of a chain to be like `link`, the first. What
// cannot code these states, or would be too slow by far, is in the choice with the reason. A basis that was
// learned on the way stays in `bases`, for the job, and what is there already is taken to be at the far end
// too. `way_back` is what choose_way_back() chose, if the workers can do so: it becomes part of the choice
// unless that is calibrated, which codes the velocity in its own way, and what the velocity takes counts with
// each candidate.
codec::CodecChoice choose_by_trial(const TrialOf& job, const StepRequest& request,
                                   const codec::LinkSpeed& link, const codec::BasisStore& bases,
                                   const std::optional<codec::DirectionChoice>& way_back = {});

// The same for the velocity, where states are not calibrated, by the link from the last worker. The request's
// latents stand for it.
codec::DirectionChoice choose_way_back(const RemotePlan& plan, const StepRequest& request,
                                       const codec::LinkSpeed& link);

// Where the client holds no block: latents are sent, exactly, and no state.
codec::CodecChoice choice_without_state(const RemotePlan& plan);

}  // namespace pinion::client
