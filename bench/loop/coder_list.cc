#include "bench/loop/coder_list.h"

#include <algorithm>
#include <charconv>

#include "bench/loop/planes_coder.h"
#include "bench/loop/uniform_coder.h"

namespace pinion::bench {
namespace {

struct Family {
  std::string name;
  std::vector<std::string> ladder;  // usual settings; of one empty setting: takes none
};

const std::vector<Family>& families() {
  static const std::vector<Family> all{
      {"planes", {"1", "7", "13", "19", "25", "31"}},
      {"uniform-zstd", {"2", "3", "4", "5", "6", "7"}},
      {"int8", {""}},
      {"int4", {""}},
      {std::string(kPca), {"1", "2", "3", "4", "5", "6"}},
      {"fidelity", {"14", "20", "26", "32"}},
      {"calibrated", {"24", "30", "36", "42"}},
      {"lossless", {""}},
      {"raw", {""}},
  };
  return all;
}

std::string family_of(const std::string& text) { return text.substr(0, text.find(':')); }

std::vector<std::string> settings_of(const std::string& text, const Family& family) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return family.ladder;
  std::vector<std::string> settings;
  for (std::size_t at = colon + 1; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    settings.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return settings;
}

template <class Number>
Result<Number> number_of(const std::string& setting, const std::string& family) {
  Number number{};
  const auto [end, error] = std::from_chars(setting.data(), setting.data() + setting.size(), number);
  if (error != std::errc() || end != setting.data() + setting.size()) {
    return Error{Errc::kInvalidArgument, "coder " + family + ": '" + setting + "' is no setting of it", ""};
  }
  return number;
}

Result<std::unique_ptr<StateCoder>> make_coder(const std::string& family, const std::string& setting,
                                               const PcaBases& bases,
                                               const codec::CalibrationSet& calibrations) {
  if (family == "planes") {
    PINION_TRY(const int qp, number_of<int>(setting, family));
    return make_planes_coder(qp);
  }
  if (family == "uniform-zstd") {
    PINION_TRY(const int bits, number_of<int>(setting, family));
    return make_uniform_coder(bits);
  }
  if (family == kPca) {
    PINION_TRY(const double bits, number_of<double>(setting, family));
    return make_pca_coder(bases, bits);
  }
  PINION_TRY(const codec::Profile profile,
             codec::parse_profile(setting.empty() ? family : family + ":" + setting));
  return make_pinion_coder(profile, calibrations);
}

}  // namespace

std::vector<std::string> coder_families() {
  std::vector<std::string> names;
  for (const Family& family : families()) names.push_back(family.name);
  return names;
}

bool names_family(const std::vector<std::string>& texts, std::string_view family) {
  return std::ranges::any_of(texts, [&](const std::string& text) { return family_of(text) == family; });
}

Result<std::vector<NamedCoder>> make_coders(const std::vector<std::string>& texts, const PcaBases& bases,
                                            const codec::CalibrationSet& calibrations) {
  std::vector<NamedCoder> coders;
  for (const std::string& text : texts) {
    const std::string name = family_of(text);
    const auto family = std::ranges::find(families(), name, &Family::name);
    if (family == families().end()) {
      return Error{
          Errc::kInvalidArgument, "there is no coder '" + text + "'",
          "coders are planes, uniform-zstd, int8, int4, pca-deflate, fidelity, calibrated, lossless, raw"};
    }
    for (const std::string& setting : settings_of(text, *family)) {
      PINION_TRY(std::unique_ptr<StateCoder> coder, make_coder(name, setting, bases, calibrations));
      coders.push_back({name, setting, std::move(coder)});
    }
  }
  return coders;
}

}  // namespace pinion::bench
