// The clocks of design section 6, read in one place, and the translation of kernel receive stamps.
#pragma once

#include <chrono>
#include <ctime>
#include <optional>

namespace transports {

using Nanoseconds = std::chrono::nanoseconds;

/// One moment, read from two clocks.
struct Instant {
    Nanoseconds raw{};  // CLOCK_MONOTONIC_RAW: stamps and holds
    Nanoseconds boot{}; // CLOCK_BOOTTIME: ages, timers, deadlines
};

[[nodiscard]] Instant read_instant() noexcept;
[[nodiscard]] Nanoseconds read_boot() noexcept;
[[nodiscard]] Nanoseconds read_wall() noexcept; // CLOCK_REALTIME since 1970: certificates and records only

/// A reading of RAW-REALTIME-RAW: relates the wall clock to the others at this moment only.
struct ClockReading {
    Instant now;
    Nanoseconds wall{};
};
[[nodiscard]] ClockReading read_clocks() noexcept;

/// When a datagram or segment arrived, from its kernel stamp (wall clock). A stamp that lies after the reading, or
/// before `not_before` (the loop's poll before last: what came earlier would have been read earlier), says that the
/// wall clock was stepped: nothing, and the caller uses the read instant and counts stamp_unusable.
[[nodiscard]] std::optional<Instant> translate_stamp(const ClockReading& reading, Nanoseconds kernel_stamp,
                                                     Instant not_before) noexcept;

} // namespace transports
