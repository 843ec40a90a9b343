#pragma once
// `pinion codec info`: what a .pnf file holds, from the headers of its frames. Pure but for reading the file.

#include <filesystem>
#include <string>

#include "pinion/base/file_io.h"
#include "pinion/codec/codec.h"

namespace pinion::cli {

// A table, or with `json` an object of frames, bases and calibrations.
Result<std::string> describe_file(const std::filesystem::path& in, bool json);

// A file that its user names may be as large as it likes; a lying frame in it should still be refused.
codec::DecodeLimits file_limits(const MappedFile& file);

}  // namespace pinion::cli
