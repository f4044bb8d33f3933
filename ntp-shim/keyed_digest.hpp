// The digests of NTP's symmetric keys: H(key || packet) as NTP has always had it (which is not HMAC), and AES-CMAC
// (RFC 4493, RFC 8573). The primitives are libcrypto's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/secret.hpp"

namespace ntp_shim {

enum class DigestKind : std::uint8_t { md5, sha1, sha256, sha384, sha512, aes128, aes256 };
inline constexpr std::size_t kDigestKinds = static_cast<std::size_t>(DigestKind::aes256) + 1;
inline constexpr std::size_t kMaxDigest = 64;

/// As chrony's key files and our profiles spell it: MD5 SHA1 SHA256 SHA384 SHA512 AES128 AES256.
[[nodiscard]] std::string_view name(DigestKind kind) noexcept;
[[nodiscard]] std::optional<DigestKind> digest_named(std::string_view name) noexcept;
[[nodiscard]] std::size_t digest_size(DigestKind kind) noexcept;
/// The one length that a CMAC key has (RFC 8573 section 3); 0 where any length will do.
[[nodiscard]] std::size_t required_key_size(DigestKind kind) noexcept;

class KeyedDigest {
public:
    /// Nothing when libcrypto will not have this digest or key: MD5 under FIPS, a CMAC key of a wrong length.
    [[nodiscard]] static std::unique_ptr<KeyedDigest> create(DigestKind kind, Secret key);
    ~KeyedDigest();
    KeyedDigest(const KeyedDigest&) = delete;
    KeyedDigest& operator=(const KeyedDigest&) = delete;

    using Digest = std::array<std::byte, kMaxDigest>;
    /// The digest of `message`, in the first digest_size(kind()) octets of `out`; false when libcrypto fails.
    [[nodiscard]] bool compute(Bytes message, Digest& out) noexcept;
    [[nodiscard]] DigestKind kind() const noexcept { return kind_; }
    /// Another digest with the same key octets; nothing as create() has it.
    [[nodiscard]] std::unique_ptr<KeyedDigest> with_kind(DigestKind kind) const
    {
        return create(kind, Secret{key_.octets()});
    }
    /// Of one kind, with the same key octets. Constant time for keys of one length.
    [[nodiscard]] bool is_same(const KeyedDigest& other) const noexcept;

private:
    struct Primitive;
    KeyedDigest(DigestKind kind, Secret key, std::unique_ptr<Primitive> primitive);

    DigestKind kind_;
    Secret key_;
    std::unique_ptr<Primitive> primitive_;
};

} // namespace ntp_shim
