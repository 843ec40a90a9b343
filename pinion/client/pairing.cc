#include "pinion/client/pairing.h"

#include <unistd.h>

#include <array>

#include "pinion/client/io_thread.h"
#include "pinion/transport/caller.h"
#include "pinion/transport/dial.h"
#include "pinion/transport/peer_store.h"

namespace pinion::client {
namespace {

std::string machine_name() {
  std::array<char, 65> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "client";
  return name.data();
}

asio::awaitable<Result<void>> show_secret(const transport::PairingLine& line,
                                          const transport::Identity& identity,
                                          std::chrono::milliseconds deadline) {
  transport::DialOptions options{
      .address = line.address, .deadline = deadline, .accept = nullptr, .is_plain = false};
  options.accept = [&line](const transport::Fingerprint& shown) -> Result<void> {
    if (shown == line.fingerprint) return {};
    return Error{Errc::kCertificate,
                 "the worker at " + to_string(line.address) +
                     " is not the one that printed the pairing line: its "
                     "certificate is " +
                     transport::short_fingerprint(shown) + ", not " +
                     transport::short_fingerprint(line.fingerprint),
                 "copy the line again; if it still differs, somebody else answers there"};
  };
  PINION_CO_TRY(transport::ConnectionPtr connection, co_await transport::dial(identity, std::move(options)));
  const auto caller = std::make_shared<transport::Caller>(std::move(connection), nullptr);
  caller->start();
  const transport::HelloOptions hello{.deadline = deadline, .must_be_paired = false};
  const Result<transport::HelloReply> greeted = co_await transport::say_hello(caller, hello);
  Result<void> done;
  if (!greeted.ok()) {
    done = greeted.error();
  } else if (!greeted->paired) {
    transport::Pair pair;
    pair.secret = line.secret;
    pair.name = machine_name();
    const Result<transport::Paired> paired = co_await caller->ask<transport::Paired>(pair, deadline);
    if (!paired.ok()) done = paired.error();
  }
  caller->close();
  co_return done;
}

}  // namespace

Result<transport::Address> pair_with(std::string_view text, const std::filesystem::path& config_folder,
                                     std::chrono::milliseconds deadline) {
  PINION_TRY(const transport::PairingLine line, transport::parse_pairing_line(text));
  PINION_TRY(const transport::Identity identity, transport::Identity::load_or_create(config_folder));
  IoThread io;
  PINION_TRY_VOID(io.wait_for(show_secret(line, identity, deadline)));
  PINION_TRY_VOID(transport::PeerStore(config_folder).add_worker(line.address, line.fingerprint));
  return line.address;
}

}  // namespace pinion::client
