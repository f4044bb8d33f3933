// The two clocks every decision about an NTP byte is made by; nothing in this directory reads a clock itself.
#pragma once

#include <algorithm>
#include <chrono>

namespace ntp_shim {

using Nanoseconds = std::chrono::nanoseconds;

/// One moment, read from two clocks.
struct Instant {
    Nanoseconds raw{};  // CLOCK_MONOTONIC_RAW: stamps and holds, never slewed by the daemon we feed
    Nanoseconds boot{}; // CLOCK_BOOTTIME: ages and deadlines, counts time spent suspended
};

/// `instant`, or `now` where it lies after it: what arrived cannot have arrived in the future.
[[nodiscard]] constexpr Instant earlier(Instant instant, Instant now) noexcept
{
    return {.raw = std::min(instant.raw, now.raw), .boot = std::min(instant.boot, now.boot)};
}

} // namespace ntp_shim
