// What one key establishment gives a client: keys, and cookies each of which is used once.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "ntp-shim/nts_cookie.hpp"

namespace ntp_shim {

/// Fills octets from a cryptographically secure source, which belongs to the caller.
using RandomFill = std::function<void(std::span<std::byte>)>;

struct NtsSession {
    static constexpr std::size_t kCookies = 8; // RFC 8915 section 5.7
    SessionKeys keys;
    std::deque<std::vector<std::byte>> cookies;

    /// What is more than eight is left out.
    void put(std::vector<std::byte> cookie)
    {
        if (cookies.size() < kCookies) {
            cookies.push_back(std::move(cookie));
        }
    }
};

} // namespace ntp_shim
