#include "pinion/cli/machine_checks.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>

#include "pinion/base/user_folders.h"
#include "pinion/models/devices.h"
#include "pinion/models/model_list.h"
#include "pinion/transport/address.h"
#include "pinion/transport/peer_store.h"

namespace pinion::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

// The value of the first line of a /proc file that starts with `key`.
std::string proc_value(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t begin = line.find_first_not_of(" \t:", key.size());
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

double meminfo_gib(std::string_view key) {
  const std::string value = proc_value("/proc/meminfo", key);
  return value.empty() ? 0 : static_cast<double>(std::strtoull(value.c_str(), nullptr, 10)) * 1024.0 / kGib;
}

Finding check_instructions() {
  const std::string flags = " " + proc_value("/proc/cpuinfo", "flags") + " ";
  std::string found;
  for (const auto& [flag, shown] :
       {std::pair{"avx2", "AVX2"}, std::pair{"f16c", "F16C"}, std::pair{"fma", "FMA"},
        std::pair{"avx512f", "AVX-512"}, std::pair{"avx512_bf16", "AVX-512 BF16"},
        std::pair{"amx_bf16", "AMX BF16"}}) {
    if (flags.find(" " + std::string(flag) + " ") == std::string::npos) continue;
    found += (found.empty() ? "" : ", ") + std::string(shown);
  }
  const std::string model = proc_value("/proc/cpuinfo", "model name");
  const std::string detail = fmt::format("{}, {} threads, {}", model.empty() ? "unknown" : model,
                                         std::thread::hardware_concurrency(),
                                         found.empty() ? "no vector instructions that matter" : found);
  if (flags.find(" avx2 ") != std::string::npos) return {Level::kOk, "processor", detail, ""};
  return {Level::kWarn, "processor", detail, "without AVX2 computing and coding on the processor are slow"};
}

Finding check_memory() {
  constexpr double kLittleGib = 4;
  const double available = meminfo_gib("MemAvailable");
  const std::string detail =
      fmt::format("{:.1f} GiB, {:.1f} GiB available", meminfo_gib("MemTotal"), available);
  if (available >= kLittleGib) return {Level::kOk, "memory", detail, ""};
  return {Level::kWarn, "memory", detail,
          "only small models fit: put more blocks on other machines (--worker, --cut)"};
}

Finding check_tls() {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_method()), &SSL_CTX_free);
  const bool works = context != nullptr && SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) == 1;
  const std::string version = OpenSSL_version(OPENSSL_VERSION);
  if (works) return {Level::kOk, "OpenSSL", version + ", TLS 1.3", ""};
  return {Level::kMissing, "OpenSSL", version + ", no TLS 1.3", "install OpenSSL 3 with TLS 1.3 switched on"};
}

Finding check_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(transport::kDefaultPort);
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  const int on = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool is_free = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const std::string why = is_free ? "" : std::strerror(errno);
  ::close(socket);
  const std::string what = fmt::format("port {}", transport::kDefaultPort);
  if (is_free) return {Level::kOk, what, "free for a worker", ""};
  return {Level::kWarn, what, why, "if that is not your worker, start yours with --port N"};
}

// A folder that need not exist yet: its nearest parent that does must be ours to write to.
Finding check_folder(const std::string& what, const fs::path& folder) {
  fs::path existing = folder;
  std::error_code failure;
  while (!fs::exists(existing, failure) && existing.has_relative_path()) existing = existing.parent_path();
  if (!fs::is_directory(existing, failure) || ::access(existing.c_str(), W_OK | X_OK) != 0) {
    return {Level::kMissing, what, folder.string() + " cannot be written",
            "make it writable, or point PINION_CONFIG_DIR and PINION_CACHE_DIR elsewhere"};
  }
  const fs::space_info space = fs::space(existing, failure);
  const double free_gib = failure ? 0 : static_cast<double>(space.available) / kGib;
  const std::string detail = fmt::format("{}{}, {:.1f} GiB free", folder.string(),
                                         existing == folder ? "" : " (not made yet)", free_gib);
  if (free_gib >= 1) return {Level::kOk, what, detail, ""};
  return {Level::kWarn, what, detail, "the disk is nearly full"};
}

// The private key must be readable by its owner alone.
Finding check_identity(const fs::path& config) {
  const fs::path file = config / "identity.pem";
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    return {Level::kOk, "identity", "none yet: made when it is first needed", ""};
  }
  const unsigned mode = status.st_mode & 07777u;
  const std::string detail = fmt::format("{}, permissions {:04o}", file.string(), mode);
  if ((mode & 077u) == 0) return {Level::kOk, "identity", detail, ""};
  return {Level::kMissing, "identity", detail + ": others can read the private key",
          "chmod 600 " + file.string() + "; if others may have read it, delete it and pair again"};
}

Finding check_peers(const fs::path& config) {
  const transport::PeerStore store(config);
  const auto workers = store.workers();
  const auto clients = store.clients();
  for (const Error* error :
       {workers.ok() ? nullptr : &workers.error(), clients.ok() ? nullptr : &clients.error()}) {
    if (error != nullptr) return {Level::kMissing, "paired", error->text, error->hint};
  }
  const std::string detail = fmt::format("{} workers, {} clients", workers->size(), clients->size());
  if (!workers->empty() || !clients->empty()) return {Level::kOk, "paired", detail, ""};
  return {Level::kWarn, "paired", detail,
          "to use another machine, start `pinion worker` there and give its line to `pinion pair` here"};
}

}  // namespace

std::vector<Finding> check_processor() { return {check_instructions(), check_memory()}; }

std::vector<Finding> check_compute() {
  const models::TorchSummary torch = models::describe_torch();
  const models::CudaDriverSummary driver = models::describe_cuda_driver();
  std::vector<Finding> findings{{Level::kOk, "libtorch",
                                 fmt::format("{}{}, {} threads", torch.version,
                                             torch.has_cuda ? " with CUDA" : " for the CPU", torch.threads),
                                 ""}};
  if (driver.devices.empty()) {
    findings.push_back(
        {Level::kWarn, "CUDA", driver.version == 0 ? "no NVIDIA driver" : "no NVIDIA GPU",
         "everything works on the processor, slowly; put blocks on a machine with a GPU (--worker)"});
    return findings;
  }
  for (std::size_t i = 0; i < driver.devices.size(); ++i) {
    findings.push_back({Level::kOk, fmt::format("cuda:{}", i),
                        fmt::format("{}, {:.1f} GiB, driver for CUDA {}.{}", driver.devices[i].name,
                                    static_cast<double>(driver.devices[i].total_bytes) / kGib,
                                    driver.version / 1000, driver.version % 1000 / 10),
                        ""});
  }
  if (torch.cuda_devices < static_cast<int>(driver.devices.size())) {
    findings.push_back({Level::kMissing, "CUDA",
                        fmt::format("the driver has {} devices, libtorch can use {}", driver.devices.size(),
                                    torch.cuda_devices),
                        torch.has_cuda
                            ? "update the NVIDIA driver to one for the CUDA that torch was built with"
                            : "build against a torch with CUDA: ./dev build --python PATH"});
  }
  return findings;
}

std::vector<Finding> check_network() { return {check_tls(), check_port()}; }

std::vector<Finding> check_folders() {
  return {check_folder("configuration", config_folder()), check_folder("cache", cache_folder()),
          check_identity(config_folder()), check_peers(config_folder())};
}

std::vector<Finding> check_models(const fs::path& folder) {
  const std::string advice = "give the folder with your models: --models DIR";
  const auto list = models::list_models(folder, /*compute_hashes=*/false);
  if (!list.ok()) return {{Level::kWarn, "models", list.error().text, advice}};
  std::vector<Finding> findings;
  for (const models::ListedModel& model : list->models) {
    findings.push_back({Level::kOk, "model",
                        fmt::format("{}: {} {}", model.path.string(), model.info.family, model.info.variant),
                        ""});
  }
  for (const models::ListedOther& other : list->others) {
    if (other.damaged) {
      findings.push_back(
          {Level::kWarn, "model", other.path.string() + ": " + other.what, "download it again"});
    }
  }
  if (list->models.empty())
    findings.push_back({Level::kWarn, "models", "none under " + folder.string(), advice});
  return findings;
}

}  // namespace pinion::cli
