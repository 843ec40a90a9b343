#include "pinion/transport/identity.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <memory>

#include "pinion/base/file_io.h"
#include "pinion/transport/openssl_error.h"

namespace pinion::transport {
namespace {

constexpr std::size_t kMaxPemBytes = 64 * 1024;
constexpr long kSecondsPerDay = 24 * 60 * 60;
constexpr long kValidDays = 100 * 365;

using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using CertificatePtr = std::unique_ptr<X509, decltype(&X509_free)>;
using BioPtr = std::unique_ptr<BIO, decltype(&BIO_free)>;

// The certificate's only job is to carry the key: peers know it by its fingerprint, so its name, serial
// number and dates mean nothing.
bool fill_certificate(X509* certificate, EVP_PKEY* key) {
  std::uint64_t serial = 0;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) != 1) return false;
  X509_NAME* name = X509_get_subject_name(certificate);
  const auto* common_name = reinterpret_cast<const unsigned char*>("pinion");
  return X509_set_version(certificate, X509_VERSION_3) == 1 &&
         ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -kSecondsPerDay) != nullptr &&
         X509_time_adj_ex(X509_getm_notAfter(certificate), kValidDays, 0, nullptr) != nullptr &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, -1, -1, 0) == 1 &&
         X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
         X509_sign(certificate, key, EVP_sha256()) != 0;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

Result<void> make_private_folder(const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (!code) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, code);
  if (code) return Error{Errc::kIo, "cannot make " + folder.string() + ": " + code.message(), ""};
  return {};
}

}  // namespace

Result<Identity> Identity::create() {
  const KeyPtr key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const CertificatePtr certificate(X509_new(), X509_free);
  const BioPtr bio(BIO_new(BIO_s_mem()), BIO_free);
  if (!key || !certificate || !bio || !fill_certificate(certificate.get(), key.get()) ||
      PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
      PEM_write_bio_X509(bio.get(), certificate.get()) != 1) {
    return openssl_error("cannot make a certificate");
  }
  return parse(text_of(bio.get()));
}

Result<Identity> Identity::parse(std::string pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  const CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
  if (!key || !certificate || X509_check_private_key(certificate.get(), key.get()) != 1) {
    return openssl_error("no valid key and certificate");
  }
  Identity identity;
  unsigned length = 0;
  auto* fingerprint = reinterpret_cast<unsigned char*>(identity.fingerprint_.data());
  if (X509_digest(certificate.get(), EVP_sha256(), fingerprint, &length) != 1) {
    return openssl_error("cannot hash the certificate");
  }
  identity.pem_ = std::move(pem);
  return identity;
}

Result<Identity> Identity::load_or_create(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "identity.pem";
  const Error broken{Errc::kBadFormat, path.string() + " is not an identity",
                     "remove it to get a new one; peers must then be paired again"};
  if (!std::filesystem::exists(path)) {
    PINION_TRY_VOID(make_private_folder(folder));
    PINION_TRY(const Identity fresh, create());
    // A link to a complete file either appears or is there already from another process.
    const std::filesystem::path draft = path.string() + "." + to_hex(fresh.fingerprint()).substr(0, 16);
    PINION_TRY_VOID(write_file(draft, as_bytes(fresh.pem()), 0600));
    std::error_code code;
    std::filesystem::create_hard_link(draft, path, code);
    std::error_code ignored;
    std::filesystem::remove(draft, ignored);
    if (code && code != std::errc::file_exists) {
      return Error{Errc::kIo, "cannot make " + path.string() + ": " + code.message(), ""};
    }
  }
  PINION_TRY(const Bytes bytes, read_file(path, kMaxPemBytes));
  Result<Identity> identity = parse(std::string(as_text(bytes)));
  if (!identity.ok()) return broken;
  return identity;
}

}  // namespace pinion::transport
