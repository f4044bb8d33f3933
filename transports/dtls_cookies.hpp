// The cookies that prove a peer's address before it costs any memory (RFC 6347 section 4.2.1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "transports/address.hpp"
#include "transports/clock.hpp"

namespace transports {

using DtlsCookie = std::array<unsigned char, 32>;

/// What a peer is given now, and what it may still have been given a while ago.
struct DtlsCookies {
    DtlsCookie current{};
    DtlsCookie previous{};
};

/// HMAC-SHA-256 over a peer's address and port, under a key from the kernel that lasts kRotation; the one before it is
/// accepted once more. Keeps nothing of any peer.
class CookieJar {
public:
    static constexpr Nanoseconds kRotation = std::chrono::seconds{30};

    explicit CookieJar(Nanoseconds boot_now);
    ~CookieJar();
    CookieJar(const CookieJar&) = delete;
    CookieJar& operator=(const CookieJar&) = delete;

    [[nodiscard]] DtlsCookies cookies_for(const MappedAddress& address, std::uint16_t port, Nanoseconds boot_now);

private:
    using Key = std::array<unsigned char, 32>;
    void rotate(Nanoseconds boot_now);

    Key current_{};
    Key previous_{};
    Nanoseconds rotated_;
};

} // namespace transports
