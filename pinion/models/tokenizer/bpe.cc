#include "pinion/models/tokenizer/bpe.h"

#include <queue>

namespace pinion::models {
namespace {

std::array<std::string, 256> make_byte_alphabet() {
  std::array<std::string, 256> alphabet;
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const unsigned code = printable ? byte : next++;
    if (code < 0x80) {
      alphabet[byte] = static_cast<char>(code);
    } else {  // never beyond U+0143, so two bytes of UTF-8
      alphabet[byte] = {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
    }
  }
  return alphabet;
}

const std::array<std::string, 256>& byte_alphabet() {
  static const std::array<std::string, 256> alphabet = make_byte_alphabet();
  return alphabet;
}

std::uint64_t pair_key(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

// A token in the list of those not merged yet; a merged-away one has no token.
struct Symbol {
  std::optional<TokenId> token;
  std::size_t previous;
  std::size_t next;
};

struct Candidate {
  std::uint32_t rank;
  std::size_t left;  // index of its left symbol
  TokenId merged;
};

struct WorseThan {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  }
};

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

}  // namespace

std::string byte_level_spelling(std::string_view bytes) {
  std::string spelling;
  spelling.reserve(bytes.size());
  for (const char byte : bytes) spelling += byte_alphabet()[static_cast<unsigned char>(byte)];
  return spelling;
}

Result<BpeModel> BpeModel::make(TokenizerSpec& spec) {
  BpeModel model;
  model.vocabulary_ = std::move(spec.vocabulary);
  model.fuse_unknown_ = spec.fuse_unknown;
  model.ignore_merges_ = spec.ignore_merges;
  const auto lacks = [](const std::string& what, const std::string& token) {
    return Error{Errc::kBadFormat,
                 "tokenizer.json: " + what + " '" + token.substr(0, 100) + "' is not in the vocabulary",
                 "the file is damaged"};
  };
  for (std::size_t byte = 0; byte < 256; ++byte) model.byte_tokens_[byte] = model.find(byte_alphabet()[byte]);
  if (!spec.unknown_token.empty()) {
    model.unknown_ = model.find(spec.unknown_token);
    if (!model.unknown_) return lacks("the unknown token", spec.unknown_token);
  }
  model.merges_.reserve(spec.merges.size());
  for (std::size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left_text, right_text] = spec.merges[rank];
    const auto left = model.find(left_text);
    if (!left) return lacks("the merged token", left_text);
    const auto right = model.find(right_text);
    if (!right) return lacks("the merged token", right_text);
    const auto merged = model.find(left_text + right_text);
    if (!merged) return lacks("the merge", left_text + right_text);
    // A pair listed twice has its last rank, as in the reference implementation.
    model.merges_.insert_or_assign(pair_key(*left, *right), Merge{static_cast<std::uint32_t>(rank), *merged});
  }
  spec.merges.clear();
  return model;
}

std::optional<TokenId> BpeModel::find(std::string_view spelling) const {
  const auto found = vocabulary_.find(std::string(spelling));
  if (found == vocabulary_.end()) return std::nullopt;
  return found->second;
}

void BpeModel::append_symbols(std::string_view bytes, std::vector<TokenId>& symbols) const {
  bool after_unknown = false;
  for (const char byte : bytes) {
    const auto& token = byte_tokens_[static_cast<unsigned char>(byte)];
    if (token) {
      symbols.push_back(*token);
      after_unknown = false;
    } else if (unknown_) {
      if (!(after_unknown && fuse_unknown_)) symbols.push_back(*unknown_);
      after_unknown = true;
    }
  }
}

void BpeModel::encode(std::string_view bytes, std::vector<TokenId>& tokens) const {
  if (ignore_merges_) {
    if (const auto whole = find(byte_level_spelling(bytes))) {
      tokens.push_back(*whole);
      return;
    }
  }
  std::vector<TokenId> start;
  start.reserve(bytes.size());
  append_symbols(bytes, start);
  std::vector<Symbol> symbols(start.size());
  for (std::size_t i = 0; i < start.size(); ++i) {
    symbols[i] = {start[i], i == 0 ? kNone : i - 1, i + 1 == start.size() ? kNone : i + 1};
  }

  std::priority_queue<Candidate, std::vector<Candidate>, WorseThan> queue;
  const auto merge_at = [&](std::size_t left) -> const Merge* {
    const std::size_t right = symbols[left].next;
    if (right == kNone) return nullptr;
    const auto found = merges_.find(pair_key(*symbols[left].token, *symbols[right].token));
    return found == merges_.end() ? nullptr : &found->second;
  };
  const auto consider = [&](std::size_t left) {
    if (const Merge* merge = merge_at(left)) queue.push({merge->rank, left, merge->merged});
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) consider(i);

  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    // Its symbols may have been merged with others since it was queued.
    if (!symbols[best.left].token) continue;
    const Merge* still = merge_at(best.left);
    if (still == nullptr || still->merged != best.merged) continue;
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[left.next];
    left.token = best.merged;
    right.token.reset();
    left.next = right.next;
    if (left.next != kNone) symbols[left.next].previous = best.left;
    if (left.previous != kNone) consider(left.previous);
    consider(best.left);
  }
  for (const Symbol& symbol : symbols) {
    if (symbol.token) tokens.push_back(*symbol.token);
  }
}

}  // namespace pinion::models
