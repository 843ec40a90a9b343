#include "pinion/worker/hub.h"

#include <algorithm>

namespace pinion::worker {
namespace {

JobKey key_of(const Job& job) { return {job.begin().job, job.begin().stage}; }

}  // namespace

std::shared_ptr<Job> Hub::find(const JobKey& key) const {
  const auto found = jobs_.find(key);
  return found == jobs_.end() ? nullptr : found->second;
}

Result<void> Hub::add(const std::shared_ptr<Job>& job) {
  const JobKey key = key_of(*job);
  if (const std::shared_ptr<Job> old = find(key)) {
    if (old->owner() != job->owner()) return Error{Errc::kInvalidArgument, "another client has that job", ""};
    old->end();
  }
  const auto of_owner = std::count_if(
      jobs_.begin(), jobs_.end(), [&](const auto& entry) { return entry.second->owner() == job->owner(); });
  if (static_cast<int>(jobs_.size()) >= limits.max_jobs || of_owner >= limits.max_jobs_per_client) {
    return Error{Errc::kBusy, "the worker has " + std::to_string(jobs_.size()) + " jobs, no more fit",
                 "wait until one ends"};
  }
  jobs_[key] = job;
  return {};
}

void Hub::remove(const Job& job) {
  const auto found = jobs_.find(key_of(job));
  if (found != jobs_.end() && found->second.get() == &job) jobs_.erase(found);
}

void Hub::end_jobs(const std::function<bool(Job&)>& which) {
  std::vector<std::shared_ptr<Job>> picked;
  for (const auto& [key, job] : jobs_) {
    if (which(*job)) picked.push_back(job);
  }
  for (const std::shared_ptr<Job>& job : picked) job->end();
}

void Hub::fail_jobs(const Error& why) {
  end_jobs([&](Job& job) {
    job.report(why, nullptr);
    return true;
  });
}

void Hub::offer_pairing(transport::PairingSecret::Time now) {
  if (secret.is_open(now) || (last_offer_ && now - *last_offer_ < std::chrono::minutes(1))) return;
  last_offer_ = now;
  announce_secret(secret.renew(now));
}

}  // namespace pinion::worker
