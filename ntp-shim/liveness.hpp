// Whether one channel's peer is alive and its daemon answers (design 12): when to ping, and when to give up.
//
//   request unanswered for max(4 x best round trip, 200 ms), or lost --> ping, wait, ping, wait, ping, wait --> dead
//   pong, and 300 ms later still no reply                            --> upstream_silent, once; then a ping a second
//   nothing received for `keepalive`                                 --> ping, and on as above
//
// The wait is the best round trip, 200 ms at least; half of max-round-trip while no round trip is known. So a slow path
// keeps its channel, and one that loses a datagram in five does not lose it with two of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/time.hpp"

namespace ntp_shim {

class Liveness {
public:
    static constexpr Nanoseconds kMinPatience = std::chrono::milliseconds{200};
    static constexpr Nanoseconds kMinPingWait = std::chrono::milliseconds{200};
    static constexpr Nanoseconds kPingInterval = std::chrono::milliseconds{300}; // of answered ones
    static constexpr Nanoseconds kSilentPingInterval = std::chrono::seconds{1};
    static constexpr Nanoseconds kMinPingSpacing = std::chrono::milliseconds{100}; // ten a second (design 5)

    Liveness(Nanoseconds opened, Nanoseconds max_round_trip) noexcept
        : first_wait_(std::max(max_round_trip / 2, kMinPingWait)), last_heard_(opened)
    {}

    /// Anything the peer sent: it is alive.
    void heard(Nanoseconds boot) noexcept;
    /// A request was answered; `round_trip` is from hand-over to arrival.
    void answered(Nanoseconds round_trip) noexcept;
    /// A request ended without an answer.
    void lost() noexcept { loss_unasked_ = true; }
    [[nodiscard]] bool may_ping(Nanoseconds boot) const noexcept;
    /// `oldest`: when the oldest unanswered request was handed over, on the boot clock.
    void ping_sent(std::uint32_t id, Instant now, std::optional<Nanoseconds> oldest) noexcept;
    /// Whether a ping of that id was outstanding.
    [[nodiscard]] bool pong_received(std::uint32_t id, Instant arrival) noexcept;

    /// What is due at `now`; reports upstream_silent once.
    [[nodiscard]] Health check(std::optional<Nanoseconds> oldest, Nanoseconds keepalive, Nanoseconds now) noexcept;
    /// When `check` next gives something else than good.
    [[nodiscard]] Nanoseconds next(std::optional<Nanoseconds> oldest, Nanoseconds keepalive) const noexcept
    {
        return due(oldest, keepalive).at;
    }

private:
    struct Due {
        Nanoseconds at;
        Health what;
    };
    struct Ping {
        std::uint32_t id{};
        Nanoseconds sent{}; // raw clock
        bool awaited = false;
    };
    [[nodiscard]] Due due(std::optional<Nanoseconds> oldest, Nanoseconds keepalive) const noexcept;
    [[nodiscard]] Nanoseconds patience() const noexcept;
    [[nodiscard]] Nanoseconds ping_wait() const noexcept;
    void note_round_trip(Nanoseconds round_trip) noexcept;

    Nanoseconds first_wait_;
    Nanoseconds last_heard_;
    std::optional<Nanoseconds> best_round_trip_;
    std::optional<Nanoseconds> last_ping_;
    std::array<Ping, 4> pings_{};
    std::size_t next_ping_ = 0;
    unsigned pings_unanswered_ = 0;
    bool loss_unasked_ = false;              // a request was lost and no ping has been sent since
    bool in_doubt_ = false;                  // pinged because of an unanswered request, and none answered since
    bool is_silent_ = false;                 // upstream_silent was reported, and no request answered since
    std::optional<Nanoseconds> alive_since_; // the first pong while in doubt
};

} // namespace ntp_shim
