// Cookie keys that a fleet derives from one seed without talking (RFC 8915 section 6): each epoch's key is HKDF-SHA256
// of the key before it (input keying material) and that key's identifier (salt).
//
//   file:  "ntpgate-nts-ratchet 1", "period SECONDS", "epoch NUMBER KEY", and once it was advanced
//          "reached EPOCH BOOT-ID SECONDS" (the current epoch, and the boot clock when it was reached)
//
// An epoch is the time since 1970 divided by the period. The file always holds the oldest key that is still taken, so
// that what is older cannot be derived any more; whoever kept the original seed can, and has no forward secrecy.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "ntp-shim/nts_key_ring.hpp"

namespace ntp_shim {

class Ratchet {
public:
    static constexpr std::uint64_t kMaxJump = 100'000; // epochs: more is a wrong clock or a wrong file

    /// What time it may be.
    struct Now {
        std::chrono::seconds wall{}; // since 1970
        std::chrono::seconds boot{};
        std::string_view boot_id;
        bool synchronised = false; // the kernel says that the clock is
    };
    enum class Standing : std::uint8_t {
        sure,
        unsure, // the wall clock claims an epoch that nothing else bears out: neither serve nor issue
    };

    [[nodiscard]] static std::variant<Ratchet, std::string> parse(std::string_view text);
    [[nodiscard]] static Ratchet create(std::chrono::seconds period, const AeadSecret& key, std::chrono::seconds wall);
    [[nodiscard]] std::string write() const;

    /// Goes on to the epoch of `now` if it may: at most one epoch for each period of boot time since the last advance,
    /// more only while the clock is synchronised. Returns whether the keys are good for `now`.
    [[nodiscard]] Standing advance(const Now& now);
    /// True once after each advance, and once when the epoch before the current one is no longer taken: write again.
    [[nodiscard]] bool take_changed() noexcept { return std::exchange(changed_, false); }

    /// The former epoch (until the current one is half over), the current and the next.
    [[nodiscard]] KeyRing ring() const;
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
    [[nodiscard]] std::chrono::seconds period() const noexcept { return period_; }

private:
    [[nodiscard]] bool may_advance(std::uint64_t jump, const Now& now) const;
    void step();
    std::chrono::seconds period_{};
    std::uint64_t epoch_ = 0;
    AeadSecret key_;
    std::optional<AeadSecret> former_;
    std::string boot_id_; // of the last advance; empty = never advanced
    std::chrono::seconds reached_{};
    bool changed_ = false;
};

/// HKDF-SHA256 (RFC 5869) through libcrypto; fills `out`.
[[nodiscard]] bool hkdf_sha256(Bytes key, Bytes salt, std::string_view info, std::span<std::byte> out);

} // namespace ntp_shim
