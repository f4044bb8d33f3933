// Trial certificates for `ntpgate keygen pki`: a throw-away authority, one server and one client certificate.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace transports {

struct TrialPki {
    std::filesystem::path directory; // made when missing (0700)
    std::vector<std::string> server_names = {"localhost", "127.0.0.1",
                                             "::1"}; // names or addresses, for the server's SAN
    std::string client_name = "ntpgate-client";      // dNSName of the client certificate
    std::chrono::hours lifetime = std::chrono::hours{24 * 30};
};

/// Writes ca.pem, ca.key, server.pem, server.key, client.pem, client.key (keys 0600, ECDSA P-256). Nothing is written
/// when any of them exists. The error text names the file and the cause; nothing on success.
[[nodiscard]] std::optional<std::string> write_trial_pki(const TrialPki& request);

} // namespace transports
