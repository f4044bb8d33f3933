// Trial keys for `ntpgate keygen ssh`: a server's host keys, a client's key, and the two files that make them trust
// each other.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace transports {

struct TrialSshKeys {
    std::filesystem::path directory;                                           // made when missing (0700)
    std::vector<std::string> server_names = {"localhost", "127.0.0.1", "::1"}; // in known_hosts, at any port
    std::string client_name = "ntpgate-client";                                // the comment of the client's key
};

/// Writes host_ed25519, host_rsa, id_ed25519 (each 0600, with a .pub beside it), known_hosts and authorized_keys, all
/// of them readable by OpenSSH. Nothing is written when any of them exists. The error text names the file and the
/// cause; nothing on success.
[[nodiscard]] std::optional<std::string> write_trial_ssh_keys(const TrialSshKeys& request);

} // namespace transports
