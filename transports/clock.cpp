#include "transports/clock.hpp"

namespace transports {

namespace {

constexpr int kAttempts = 5;
constexpr Nanoseconds kNarrow = std::chrono::microseconds{2};

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
    ClockReading best;
    auto narrowest = Nanoseconds::max();
    // The wall reading lies between the two others; the middle is right to half their distance, some 20 ns. Who loses
    // the processor in between reads something that looks like a step of the clock, and reads it again.
    for (int attempt = 0; attempt < kAttempts && narrowest > kNarrow; ++attempt) {
        const Nanoseconds before = read(CLOCK_MONOTONIC_RAW);
        const Nanoseconds wall = read(CLOCK_REALTIME);
        const Nanoseconds after = read(CLOCK_MONOTONIC_RAW);
        if (after - before < narrowest) {
            narrowest = after - before;
            best = {{before + narrowest / 2, {}}, wall};
        }
    }
    best.now.boot = read(CLOCK_BOOTTIME);
    return best;
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
