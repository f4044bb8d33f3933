#include "transports/clock.hpp"

namespace transports {

namespace {

Nanoseconds read(clockid_t clock) noexcept
{
    timespec value{};
    // These clocks exist on every kernel we run on; the call cannot fail with a valid pointer.
    (void)clock_gettime(clock, &value);
    return std::chrono::seconds{value.tv_sec} + Nanoseconds{value.tv_nsec};
}

} // namespace

Nanoseconds read_boot() noexcept
{
    return read(CLOCK_BOOTTIME);
}

Nanoseconds read_wall() noexcept
{
    return read(CLOCK_REALTIME);
}

Instant read_instant() noexcept
{
    return {read(CLOCK_MONOTONIC_RAW), read(CLOCK_BOOTTIME)};
}

ClockReading read_clocks() noexcept
{
    const Nanoseconds before = read(CLOCK_MONOTONIC_RAW);
    const Nanoseconds wall = read(CLOCK_REALTIME);
    const Nanoseconds after = read(CLOCK_MONOTONIC_RAW);
    // The wall reading lies between the two others; the middle is right to half their distance, some 20 ns.
    return {{before + (after - before) / 2, read(CLOCK_BOOTTIME)}, wall};
}

std::optional<Instant> translate_stamp(const ClockReading& reading, Nanoseconds kernel_stamp,
                                       Instant not_before) noexcept
{
    const Nanoseconds wait = reading.wall - kernel_stamp;
    if (wait < Nanoseconds::zero() || wait > reading.now.raw - not_before.raw) {
        return std::nullopt;
    }
    return Instant{reading.now.raw - wait, reading.now.boot - wait};
}

} // namespace transports
