// The keys that cookies are sealed with: next, current and former ones, as a file that one writer keeps and any number
// of readers follow.
//
//   own file:       "ntpgate-nts-keys 1", "rotated SECONDS" (since 1970), then "next|current|former ID AEAD KEY" lines
//   chrony's:       "NKS0", "15 AGE", four lines "ID KEY"   or   "NKS1", "AGE", four lines "ID KEY AEAD"
//                   (the oldest first, then an older one, the current and the next)
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ntp-shim/nts_cookie.hpp"

namespace ntp_shim {

/// 32 random octets for a key and four for its identifier, from the caller's source.
struct FreshKey {
    std::uint32_t id{};
    AeadSecret key; // of key_size(AEAD 15)
};

class KeyRing {
public:
    static constexpr std::size_t kFormer = 7;          // own file: a week of daily keys
    static constexpr std::size_t kChronyKeys = 4;      // chrony: two former ones, current, next
    using Parsed = std::variant<KeyRing, std::string>; // the error names the line, never what stands on it

    [[nodiscard]] static Parsed parse_own(std::string_view text);
    [[nodiscard]] static Parsed parse_chrony(std::string_view text);
    /// A ring that never was: its first current and next keys; under chrony's layout two former ones, too.
    [[nodiscard]] static KeyRing create(CookieLayout layout, const std::vector<FreshKey>& keys);
    /// Keys by position: `current` is the one that new cookies get.
    [[nodiscard]] static KeyRing of(std::vector<CookieKey> keys, std::size_t current, CookieLayout layout);

    [[nodiscard]] std::string write_own(std::chrono::seconds rotated) const;
    [[nodiscard]] std::string write_chrony(std::chrono::seconds age) const;

    /// The next key becomes the current one and `fresh` the next; the oldest former one is forgotten.
    void rotate(const FreshKey& fresh);

    [[nodiscard]] CookieLayout layout() const noexcept { return layout_; }
    [[nodiscard]] const CookieKey& current() const noexcept { return keys_[current_]; }
    [[nodiscard]] std::size_t size() const noexcept { return keys_.size(); }
    /// Own file: when it was last rotated. chrony's: how old the newest key was when the file was written.
    [[nodiscard]] std::chrono::seconds stamp() const noexcept { return stamp_; }

    [[nodiscard]] std::vector<std::byte> seal_cookie(const SessionKeys& keys, Bytes nonce) const;
    /// Nothing for a cookie that no key of the ring sealed.
    [[nodiscard]] std::optional<SessionKeys> open_cookie(Bytes cookie) const;

private:
    KeyRing() = default;
    CookieLayout layout_ = CookieLayout::own;
    std::vector<CookieKey> keys_; // oldest first, the next one last
    std::size_t current_ = 0;
    std::chrono::seconds stamp_{};
};

} // namespace ntp_shim
