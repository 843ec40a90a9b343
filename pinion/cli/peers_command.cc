// pinion peers: whom this machine is paired with, and how to end it.

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "pinion/base/sha256.h"
#include "pinion/base/user_folders.h"
#include "pinion/cli/command.h"
#include "pinion/transport/peer_store.h"

namespace pinion::cli {
namespace {

struct PeersFlags {
  bool json = false;
  std::string remove;
};

using Workers = std::vector<transport::PairedWorker>;
using Clients = std::vector<transport::PairedClient>;

void print_json(const Workers& workers, const Clients& clients) {
  nlohmann::ordered_json all{{"workers", nlohmann::ordered_json::array()},
                             {"clients", nlohmann::ordered_json::array()}};
  for (const transport::PairedWorker& worker : workers) {
    all["workers"].push_back({{"address", to_string(worker.address)},
                              {"fingerprint", to_hex(worker.fingerprint)},
                              {"paired_at", worker.paired_at}});
  }
  for (const transport::PairedClient& client : clients) {
    all["clients"].push_back({{"name", client.name},
                              {"fingerprint", to_hex(client.fingerprint)},
                              {"paired_at", client.paired_at}});
  }
  fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_text(const Workers& workers, const Clients& clients) {
  if (workers.empty() && clients.empty()) fmt::print("this machine is not paired with any other\n");
  if (!workers.empty()) fmt::print("workers this machine may use:\n");
  for (const transport::PairedWorker& worker : workers) {
    fmt::print("  {:<28} {}  since {}\n", to_string(worker.address),
               transport::short_fingerprint(worker.fingerprint), worker.paired_at);
  }
  if (!clients.empty()) fmt::print("clients that may use this machine's workers:\n");
  for (const transport::PairedClient& client : clients) {
    fmt::print("  {:<28} {}  since {}\n", client.name, transport::short_fingerprint(client.fingerprint),
               client.paired_at);
  }
}

int run_peers(const PeersFlags& flags) {
  transport::PeerStore store(config_folder());
  if (!flags.remove.empty()) {
    const Result<int> removed = store.remove(flags.remove);
    if (!removed.ok()) return report(removed.error());
    if (*removed == 0) {
      return report({Errc::kNotFound, "no peer is called \"" + flags.remove + "\"",
                     "`pinion peers` lists them: give an address, a name, or a fingerprint"});
    }
    fmt::print("removed {}\n", *removed);
    return kDone;
  }
  const Result<Workers> workers = store.workers();
  if (!workers.ok()) return report(workers.error());
  const Result<Clients> clients = store.clients();
  if (!clients.ok()) return report(clients.error());
  flags.json ? print_json(*workers, *clients) : print_text(*workers, *clients);
  return kDone;
}

}  // namespace

void add_peers_command(CLI::App& app, Action& action) {
  auto flags = std::make_shared<PeersFlags>();
  CLI::App* command = app.add_subcommand("peers", "List whom this machine is paired with, or end a pairing");
  command->add_flag("--json", flags->json, "For programs");
  command->add_option("--remove", flags->remove, "End the pairing with this address, name or fingerprint");
  command->callback([flags, &action] { action = [flags] { return run_peers(*flags); }; });
}

}  // namespace pinion::cli
