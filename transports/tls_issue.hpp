// Making the keys and certificates of a throw-away authority.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "transports/tls_openssl.hpp"

namespace transports {

enum class IssuedKind : std::uint8_t { authority, server, client };

struct IssueRequest {
    IssuedKind kind{};
    std::string common_name;
    std::vector<std::string> names; // host names or addresses, for subjectAltName
    std::chrono::hours lifetime{};  // at most a century
};

struct Issued {
    Certificate certificate;
    PrivateKey key; // ECDSA P-256
};

/// Why nothing was issued.
struct IssueError {
    std::string text;
};

/// `authority` signs; null = the certificate signs itself.
[[nodiscard]] std::variant<Issued, IssueError> issue(const IssueRequest& request, const Issued* authority);

} // namespace transports
