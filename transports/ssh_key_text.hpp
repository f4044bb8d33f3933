// Public keys as SSH files write them: a type and the key in base64 (RFC 4253 section 6.6, RFC 5656, RFC 8709). Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace transports {

struct SshPublicKey {
    std::string type; // "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", ...
    std::string blob; // the key as it goes over the wire
    unsigned bits{};  // of the modulus or of the curve
    bool operator==(const SshPublicKey& other) const noexcept { return blob == other.blob; }
};

/// What is wrong in one line of a file; lines and columns are 1-based.
struct SshLineProblem {
    std::size_t line{};
    std::size_t column{};
    std::string text; // a clause: "has no key", "can not be read: ..."
};

/// A bound on what a file may make us keep.
inline constexpr std::size_t kMaxSshLines = 10'000;
inline constexpr std::size_t kMaxSshLine = std::size_t{16} * 1024;

/// Standard alphabet with padding, nothing else; nothing when `text` is no base64.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

/// Ed25519, RSA and ECDSA on the NIST curves.
[[nodiscard]] bool is_ssh_key_type(std::string_view type) noexcept;

/// The key, or why `base64` is none of this type: its inner type differs, a field runs over the end, a point or
/// modulus has a length that no such key has.
[[nodiscard]] std::variant<SshPublicKey, std::string> read_ssh_key(std::string_view type, std::string_view base64);
/// The same from the wire form.
[[nodiscard]] std::variant<SshPublicKey, std::string> read_ssh_key_blob(std::string blob);

/// The type of key behind a signature algorithm: "rsa-sha2-512" is made with "ssh-rsa".
[[nodiscard]] std::string_view key_type_of(std::string_view algorithm) noexcept;

/// The words of a line: runs of what is neither space nor tab, up to `most`; the last one takes the rest.
struct SshWord {
    std::string_view text;
    std::size_t column{};
};
[[nodiscard]] std::vector<SshWord> split_words(std::string_view line, std::size_t most);

/// Lines without their ends; `\r\n` counts as one end.
[[nodiscard]] std::vector<std::string_view> split_lines(std::string_view text);

} // namespace transports
