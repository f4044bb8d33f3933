// Files of symmetric keys, ntpd's and NTPsec's `ntp.keys` and chrony's `keyfile`, with all that tells the two apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ntp-shim/mac.hpp"

namespace ntp_shim {

/// The same line can be another key to the other program: a key of more than 20 characters is hex to ntpd and text to
/// chrony. `automatic` reads a file whose lines say which it is, or mean the same to both.
enum class KeyFormat : std::uint8_t { automatic, ntp, chrony };
[[nodiscard]] std::string_view name(KeyFormat format) noexcept; // auto, ntp, chrony

/// A line of the file that is no key, or one that cannot be used. No text of a key is ever quoted.
struct KeyProblem {
    std::size_t line{}; // 1-based
    std::string text;
};

/// A key that is well-formed and refused: its type is not built, it is weak, or its length does not fit its type.
struct UnusableKey {
    std::uint32_t id{};
    KeyProblem why;
};

struct KeyFile {
    KeyFormat format{};                              // as found, when asked for automatic
    std::vector<std::shared_ptr<const MacKey>> keys; // in the order of the file
    std::vector<UnusableKey> unusable;
    std::vector<KeyProblem> problems; // any of them: the file is not to be used
};

inline constexpr std::size_t kMaxKeys = 65536;
inline constexpr std::size_t kMinKeySize = 10; // 80 bits

/// Reads all of `text`; wiping it is the caller's. Ids are 1..65535, under chrony 1..4294967295, each once.
[[nodiscard]] KeyFile read_key_file(std::string_view text, KeyFormat format);

/// A line for a new key, ending in a newline: what `keygen mac` writes. It holds the key.
[[nodiscard]] std::string key_line(std::uint32_t id, DigestKind kind, Bytes key, KeyFormat format);

} // namespace ntp_shim
