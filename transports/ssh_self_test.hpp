// Whether the SSH library looks at what protects a packet: some of its versions opened AES-GCM whatever the tag said
// (CVE-2026-59847), and their number does not tell. Before anything else uses it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "transports/ssh_context.hpp"

namespace transports {

/// Each way of `policy` to protect a packet, once: "aes256-gcm@openssh.com", or "aes256-ctr hmac-sha2-256".
[[nodiscard]] std::vector<std::string> ssh_protections(const SshPolicy& policy);

/// Makes a connection within the process for each of them, passes one packet as it is and one with its last octet
/// changed, and expects the first to be taken and the second to end it. Blocks for milliseconds each, 5 s at most. What
/// went otherwise, beginning with the protection's name; absent = all is well.
[[nodiscard]] std::optional<std::string> find_broken_ssh_protection(const SshPolicy& policy);

} // namespace transports
