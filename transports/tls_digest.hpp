// SHA-256 for records that must show a change (not for secrets), the keyed SHA-1 of known_hosts, and the name of the
// library that computes it.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace transports {

[[nodiscard]] std::string sha256_hex(std::string_view text); // 64 lower-case digits

/// How known_hosts hides the names of hosts: protects nothing, and no other use is meant.
[[nodiscard]] std::array<std::byte, 20> hmac_sha1(std::string_view key, std::string_view text);

[[nodiscard]] std::string tls_library_version();

} // namespace transports
