// `ntpgate keygen mac`: a new symmetric key in either program's format, and its check value.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>

namespace gateway {

struct MacKeyRequest {
    std::filesystem::path directory; // made when missing
    std::uint32_t id = 1;
    std::string digest = "AES128";
    std::string format = "chrony"; // or ntp
};

/// Writes DIRECTORY/ntp.keys, mode 0600; never overwrites. Exit code.
[[nodiscard]] int write_mac_key(const MacKeyRequest& request, std::ostream& out, std::ostream& errors);

} // namespace gateway
