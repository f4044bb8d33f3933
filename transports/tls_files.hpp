// Reading certificates, revocation lists and private keys from PEM files and directories.
#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "transports/tls_openssl.hpp"

namespace transports {

struct CertificateOnFile {
    std::filesystem::path file;
    Certificate certificate;
};

/// Why a file could not be used: "FILE: cause".
struct FileError {
    std::string text;
};

/// Every certificate of a file, or of the regular files of a directory in the order of their names; in a directory,
/// files without any are passed over. Never empty.
[[nodiscard]] std::variant<std::vector<CertificateOnFile>, FileError>
load_certificates(const std::filesystem::path& path);

/// The same for revocation lists.
[[nodiscard]] std::variant<std::vector<RevocationList>, FileError>
load_revocation_lists(const std::filesystem::path& path);

/// The first private key of a file; an encrypted one is an error, nobody is asked for a password. What was read is
/// wiped.
[[nodiscard]] std::variant<PrivateKey, FileError> load_private_key(const std::filesystem::path& file);

/// The directory of trust anchors that this system's OpenSSL uses (SSL_CERT_DIR overrides it).
[[nodiscard]] std::filesystem::path system_trust_directory();

} // namespace transports
