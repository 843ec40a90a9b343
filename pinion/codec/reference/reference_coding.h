#pragma once
// The entropy coding of docs/format.md as it is written there: tables (§4.1, §6.2), chunks (§4.2), runs of
// integers (§6.3). For the reference decoder only: plain, not fast.
//
// Not thread-safe.

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "pinion/codec/reference/reference_reader.h"

namespace pinion::codec {

// The frequency of each symbol; the sum is 4096.
using ReferenceTable = std::vector<std::uint32_t>;

// §4.2. The operations of one chunk, in order.
class ReferenceChunk {
 public:
  // `bytes` is the chunk, `lanes` a power of two.
  static Result<ReferenceChunk> open(ReferenceReader bytes, std::size_t lanes);

  Result<std::uint32_t> symbol(std::size_t lane, const ReferenceTable& table);
  Result<std::uint32_t> bits(std::size_t lane, int count);

  // An error unless the chunk ends here.
  Result<void> end() const;

  std::size_t lanes() const { return states_.size(); }
  const ReferenceReader& reader() const { return words_; }

 private:
  explicit ReferenceChunk(ReferenceReader words) : words_(words) {}
  Result<void> renormalise(std::uint32_t& x);

  ReferenceReader words_;
  std::vector<std::uint32_t> states_;
};

// §6.2.
struct ReferenceClass {
  int shape = 0;
  int scale = 0;
};
inline constexpr int kReferenceShapes = 4;
int reference_base_scale(int shape);
int reference_max_scale(int shape);
Result<ReferenceClass> read_reference_class(ReferenceReader& in, std::string_view name);

// The table of a shape and a scale from 1 to reference_base_scale(shape).
ReferenceTable reference_table(int shape, int scale);

// Keeps tables once they are made.
class ReferenceTables {
 public:
  const ReferenceTable& get(int shape, int scale);

 private:
  std::map<std::pair<int, int>, ReferenceTable> made_;
};

// §6.3. Reads a run of values.size() integers under a class of scale ≥ 1. `what` is for the log.
Result<void> read_reference_run(ReferenceChunk& chunk, ReferenceClass run_class, ReferenceTables& tables,
                                std::string_view what, std::span<std::int64_t> values);

}  // namespace pinion::codec
