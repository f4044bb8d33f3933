// One line of a key file; internal to the reader of the whole (key_file.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ntp-shim/key_file.hpp"
#include "ntp-shim/secret.hpp"

namespace ntp_shim {

struct KeyLine {
    std::uint32_t id{};
    DigestKind kind{};
    Secret key;
    std::vector<KeyPeers> peers;
    std::string unusable; // why a well-formed line gives no key: DES, Autokey, a digest that is not built
};

/// Nothing for an empty line or a comment; a text for what cannot be read. Under `automatic` only what both programs
/// read alike is a key.
[[nodiscard]] std::variant<std::monostate, KeyLine, std::string> parse_key_line(std::string_view line,
                                                                                KeyFormat format);

/// ntp or chrony when only one of them can have written the line; automatic when it does not show.
[[nodiscard]] KeyFormat format_of_line(std::string_view line);

} // namespace ntp_shim
