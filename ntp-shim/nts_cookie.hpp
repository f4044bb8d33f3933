// Cookies: the keys of one client, sealed for ourselves (RFC 8915 section 6), so that no server keeps them.
//
//   own layout:     key id (32) | nonce (16 octets) | seal of: AEAD id (16), zero (16), S2C key, C2S key
//   chrony's:       key id (32) | nonce             | seal of: C2S key, S2C key      (the AEAD follows from their size)
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/nts_aead.hpp"

namespace ntp_shim {

enum class CookieLayout : std::uint8_t { own, chrony };

/// What a cookie holds.
struct SessionKeys {
    AeadId aead{};
    AeadSecret client_to_server;
    AeadSecret server_to_client;
    bool operator==(const SessionKeys&) const = default;
};

/// A key of the ring: what cookies are sealed with.
class CookieKey {
public:
    /// Nothing when the key has not the algorithm's size.
    [[nodiscard]] static std::optional<CookieKey> make(std::uint32_t id, AeadId aead, Bytes key);
    [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
    [[nodiscard]] AeadId aead() const noexcept { return cipher_.id(); }
    [[nodiscard]] Bytes key() const noexcept { return key_.view(); }

    /// `nonce`: fresh random octets, of which nonce_size(aead()) are used. Empty when `layout` cannot say which AEAD
    /// the keys are for.
    [[nodiscard]] std::vector<std::byte> seal(const SessionKeys& keys, CookieLayout layout, Bytes nonce) const;
    [[nodiscard]] std::optional<SessionKeys> open(Bytes cookie, CookieLayout layout) const;

private:
    CookieKey(std::uint32_t id, const AeadSecret& key, Aead cipher) noexcept;
    std::uint32_t id_;
    AeadSecret key_;
    Aead cipher_;
};

/// The identifier of the key that a cookie names; nothing when it is too short for any.
[[nodiscard]] std::optional<std::uint32_t> key_id_of(Bytes cookie) noexcept;
/// The size of a cookie with keys for `aead`, sealed by a key of `sealing`.
[[nodiscard]] std::size_t cookie_size(AeadId aead, AeadId sealing, CookieLayout layout) noexcept;
/// Whether a cookie of this layout tells the AEAD of its keys from every other.
[[nodiscard]] bool can_carry(CookieLayout layout, AeadId aead) noexcept;

} // namespace ntp_shim
