#include "pinion/transport/pairing_line.h"

#include <algorithm>

#include "pinion/transport/base64url.h"

namespace pinion::transport {
namespace {

constexpr std::string_view kScheme = "pinion://";
constexpr std::size_t kSecretCharacters = 22;

Error bad_line(const std::string& why) {
  return Error{Errc::kInvalidArgument, "that is not a pairing line: " + why,
               "copy the whole line that `pinion worker` printed, in quotes: pinion://host:port#..."};
}

}  // namespace

std::string to_string(const PairingLine& line) {
  return std::string(kScheme) + to_string(line.address) + "#" + to_base64url(line.fingerprint) + "." +
         line.secret;
}

Result<PairingLine> parse_pairing_line(std::string_view text) {
  if (!text.starts_with(kScheme)) return bad_line("it does not begin with pinion://");
  text.remove_prefix(kScheme.size());
  const std::size_t hash = text.find('#');
  if (hash == std::string_view::npos) return bad_line("nothing after #");
  const std::string_view proof = text.substr(hash + 1);
  const std::size_t dot = proof.find('.');
  if (dot == std::string_view::npos) return bad_line("no secret after the fingerprint");

  PairingLine line;
  PINION_TRY(line.address, parse_address(text.substr(0, hash)));
  const Result<Bytes> fingerprint = from_base64url(proof.substr(0, dot));
  if (!fingerprint.ok() || fingerprint->size() != line.fingerprint.size()) return bad_line("bad fingerprint");
  std::copy(fingerprint->begin(), fingerprint->end(), line.fingerprint.begin());
  line.secret = std::string(proof.substr(dot + 1));
  if (line.secret.size() != kSecretCharacters || !from_base64url(line.secret).ok())
    return bad_line("bad secret");
  return line;
}

}  // namespace pinion::transport
