// SHA-256 for records that must show a change (not for secrets), and the name of the library that computes it.
#pragma once

#include <string>
#include <string_view>

namespace transports {

[[nodiscard]] std::string sha256_hex(std::string_view text); // 64 lower-case digits

[[nodiscard]] std::string tls_library_version();

} // namespace transports
