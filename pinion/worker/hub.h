#pragma once
// What the sessions of a worker share. I/O thread only.

#include <functional>
#include <map>

#include "pinion/transport/pairing_secret.h"
#include "pinion/transport/peer_store.h"
#include "pinion/worker/job.h"

namespace pinion::worker {

struct Limits {
  std::size_t max_message_bytes = transport::kDefaultMessageBytes;
  int max_connections = 64;
  int max_strangers = 16;  // connections that are not authorised yet
  int max_jobs = 32;
  int max_jobs_per_client = 8;
};

struct JobKey {
  std::string job;
  int stage = 0;
  auto operator<=>(const JobKey&) const = default;
};

class Hub {
 public:
  Hub(JobServices job_services, StageCache& stage_cache, transport::PeerStore peer_store,
      const Limits& worker_limits)
      : services(job_services), stages(stage_cache), peers(std::move(peer_store)), limits(worker_limits) {}

  const JobServices services;
  StageCache& stages;
  transport::PeerStore peers;
  const Limits limits;
  std::string device;
  std::vector<std::string> capabilities;
  std::function<void(const std::string& secret)> announce_secret;
  transport::PairingSecret secret;

  // The job, or nullptr.
  std::shared_ptr<Job> find(const JobKey& key) const;

  // Registers a new job in the place of its owner's old one of the same key. kBusy: too many.
  Result<void> add(const std::shared_ptr<Job>& job);
  void remove(const Job& job);

  // Ends the jobs that `which` picks.
  void end_jobs(const std::function<bool(Job&)>& which);

  // Tells every job's client why, and ends the job.
  void fail_jobs(const Error& why);

  // A new secret for a machine that knocks and is not paired, unless one is out or was a minute ago.
  void offer_pairing(transport::PairingSecret::Time now);

 private:
  std::map<JobKey, std::shared_ptr<Job>> jobs_;
  std::optional<transport::PairingSecret::Time> last_offer_;
};

}  // namespace pinion::worker
