#include "pinion/models/tokenizer/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

namespace pinion::models {
namespace {

constexpr std::size_t kMaxPatternBytes = std::size_t{16} << 10;
constexpr std::uint32_t kMaxNestedParentheses = 50;
constexpr std::uint32_t kMaxMatchSteps = 20'000'000;
constexpr std::uint32_t kMaxMatchHeapKib = 64 * 1024;

template <auto release>
struct Release {
  template <class T>
  void operator()(T* object) const {
    release(object);
  }
};
using CompileContext = std::unique_ptr<pcre2_compile_context, Release<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Release<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Release<pcre2_match_data_free>>;

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

PCRE2_SPTR bytes_of(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

// One text being searched: holds the memory that matching needs.
class Search {
 public:
  static Result<Search> start(const pcre2_code* code) {
    Search search(code);
    if (search.data_ == nullptr || search.context_ == nullptr) {
      return Error{Errc::kOutOfMemory, "no memory for matching the split pattern", ""};
    }
    pcre2_set_match_limit(search.context_.get(), kMaxMatchSteps);
    pcre2_set_depth_limit(search.context_.get(), kMaxMatchSteps);
    pcre2_set_heap_limit(search.context_.get(), kMaxMatchHeapKib);
    return search;
  }

  struct Match {
    bool found = false;
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  // The first match at or after byte `from`.
  Result<Match> next(std::string_view text, std::size_t from, std::uint32_t options = 0) {
    // The text is known to be well formed: checking it in every call would be quadratic.
    const int count = pcre2_match(code_, bytes_of(text), text.size(), from, PCRE2_NO_UTF_CHECK | options,
                                  data_.get(), context_.get());
    if (count == PCRE2_ERROR_NOMATCH) return Match{};
    if (count == PCRE2_ERROR_MATCHLIMIT || count == PCRE2_ERROR_HEAPLIMIT ||
        count == PCRE2_ERROR_DEPTHLIMIT) {
      return Error{Errc::kTooLarge, "the tokenizer's split pattern takes too many steps on this text",
                   "use a shorter text or the tokenizer.json that the model was published with"};
    }
    if (count < 0) return Error{Errc::kInternal, "split pattern: " + message_of(count), ""};
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data_.get());
    return Match{true, span[0], span[1]};
  }

 private:
  explicit Search(const pcre2_code* code)
      : code_(code),
        data_(pcre2_match_data_create_from_pattern(code, nullptr)),
        context_(pcre2_match_context_create(nullptr)) {}

  const pcre2_code* code_;
  MatchData data_;
  MatchContext context_;
};

// Where a code point that starts at `at` ends.
std::size_t after_character(std::string_view text, std::size_t at) {
  do ++at;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return at;
}

}  // namespace

Result<SplitPattern> SplitPattern::compile_pcre2(const std::string& pattern, std::string_view shown) {
  const CompileContext context(pcre2_compile_context_create(nullptr));
  if (context == nullptr) return Error{Errc::kOutOfMemory, "no memory for the split pattern", ""};
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context.get(), kMaxPatternBytes);
  pcre2_set_parens_nest_limit(context.get(), kMaxNestedParentheses);
  int failure = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(bytes_of(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                    &failure, &offset, context.get());
  if (code == nullptr) {
    return Error{Errc::kBadFormat,
                 "split pattern '" + std::string(shown.substr(0, 200)) + "': " + message_of(failure), ""};
  }
  return SplitPattern(std::shared_ptr<const pcre2_code>(
      code, [](const pcre2_code* owned) { pcre2_code_free(const_cast<pcre2_code*>(owned)); }));
}

Result<SplitPattern> SplitPattern::compile(std::string_view oniguruma_pattern) {
  if (oniguruma_pattern.size() > kMaxPatternBytes) {
    return Error{Errc::kTooLarge,
                 "split pattern of " + std::to_string(oniguruma_pattern.size()) + " bytes, the limit is " +
                     std::to_string(kMaxPatternBytes),
                 ""};
  }
  PINION_TRY(const std::string pattern, to_pcre2(oniguruma_pattern));
  return compile_pcre2(pattern, oniguruma_pattern);
}

Result<SplitPattern> SplitPattern::literal(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       static_cast<unsigned char>(c) >= 0x80 || c == '\0';
    if (!plain) pattern += '\\';
    pattern += c;
  }
  return compile_pcre2(pattern, text);
}

Result<void> SplitPattern::split(std::string_view text, std::vector<std::string_view>& pieces) const {
  PINION_TRY(Search search, Search::start(code_.get()));
  std::size_t piece_begin = 0;
  std::size_t from = 0;
  while (from < text.size()) {
    PINION_TRY(const Search::Match match, search.next(text, from));
    if (!match.found) break;
    if (match.begin > piece_begin) pieces.push_back(text.substr(piece_begin, match.begin - piece_begin));
    if (match.end > match.begin) pieces.push_back(text.substr(match.begin, match.end - match.begin));
    piece_begin = match.end;
    from = match.end > match.begin ? match.end : after_character(text, match.end);
  }
  if (piece_begin < text.size()) pieces.push_back(text.substr(piece_begin));
  return {};
}

Result<bool> SplitPattern::matches_whole(std::string_view text) const {
  PINION_TRY(Search search, Search::start(code_.get()));
  PINION_TRY(const Search::Match match, search.next(text, 0, PCRE2_ANCHORED));
  return match.found && match.end == text.size();
}

}  // namespace pinion::models
