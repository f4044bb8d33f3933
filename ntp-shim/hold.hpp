// Arithmetic of holds and time stamps: 32.32 fixed point, modulo 2^64, compared as signed differences (design 5, 6.3).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <ratio>

#include "ntp-shim/time.hpp"

namespace ntp_shim {

/// 2^-32 seconds: the unit of NTP time stamps, of our stamps and of the hold fields.
using Ticks = std::chrono::duration<std::int64_t, std::ratio<1, std::int64_t{1} << 32>>;

inline constexpr std::uint32_t kHoldOverflow = 0xffffffff; // on the wire: a second or more
/// How far the holds may exceed what the client role measured itself: two clocks' drift and their reading (design 6.3).
inline constexpr Nanoseconds kMeasurementSlack = std::chrono::milliseconds{1};

/// A clock reading as a stamp, rounded to the nearest tick.
[[nodiscard]] std::uint64_t stamp_of(Nanoseconds clock) noexcept;

/// The signed distance of two stamps that are within 2^31 seconds of each other.
[[nodiscard]] Ticks stamp_difference(std::uint64_t later, std::uint64_t earlier) noexcept;

/// A measured interval in ticks. A negative one is two clock readings in the wrong order and counts as none.
[[nodiscard]] Ticks to_ticks(Nanoseconds interval) noexcept;

/// A hold as its 0.32 field; nothing for a second or more.
[[nodiscard]] std::optional<std::uint32_t> hold_field(Nanoseconds hold) noexcept;

/// How long head-ends kept the request and the reply of one exchange.
struct Holds {
    Ticks forward{};
    Ticks backward{};
    [[nodiscard]] Ticks total() const noexcept { return forward + backward; }
};

/// T2 and T3 of a reply.
struct ServerStamps {
    std::uint64_t receive{};
    std::uint64_t transmit{};
    [[nodiscard]] Ticks processing() const noexcept { return stamp_difference(transmit, receive); }
};

/// Whether the holds and the daemon's `processing` fit into the interval the client role measured, within the slack.
[[nodiscard]] bool is_plausible(const Holds& holds, Ticks processing, Nanoseconds measured) noexcept;

/// T2 earlier by the forward hold and T3 later by the backward hold; a result of zero becomes 1, because zero means
/// "unknown" to NTP. Nothing when T3 would lie before T2.
[[nodiscard]] std::optional<ServerStamps> correct(const ServerStamps& stamps, const Holds& holds) noexcept;

} // namespace ntp_shim
