#include "ntp-shim/hold.hpp"

#include <algorithm>

namespace ntp_shim {

namespace {

constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;

constexpr std::uint64_t not_zero(std::uint64_t stamp) noexcept
{
    return stamp == 0 ? 1 : stamp;
}

} // namespace

std::uint64_t stamp_of(Nanoseconds clock) noexcept
{
    const auto count = static_cast<std::uint64_t>(std::max(clock, Nanoseconds::zero()).count());
    const auto seconds = count / kNanosecondsPerSecond;
    // The remainder is below 2^30, so that its product stays below 2^62.
    const auto fraction = ((count % kNanosecondsPerSecond << 32) + kNanosecondsPerSecond / 2) / kNanosecondsPerSecond;
    return (seconds << 32) + fraction;
}

Ticks stamp_difference(std::uint64_t later, std::uint64_t earlier) noexcept
{
    return Ticks{static_cast<std::int64_t>(later - earlier)};
}

Ticks to_ticks(Nanoseconds interval) noexcept
{
    return Ticks{static_cast<std::int64_t>(stamp_of(interval))};
}

std::optional<std::uint32_t> hold_field(Nanoseconds hold) noexcept
{
    const auto ticks = to_ticks(hold).count();
    if (ticks >= std::int64_t{kHoldOverflow}) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(ticks);
}

bool is_plausible(const Holds& holds, Ticks processing, Nanoseconds measured) noexcept
{
    const auto bound = to_ticks(measured) + to_ticks(kMeasurementSlack);
    // Compared one after the other: a lying daemon's T3 - T2 is anything up to 2^63 and must not overflow the sum.
    return processing <= bound && holds.total() <= bound && holds.total() + processing <= bound;
}

std::optional<ServerStamps> correct(const ServerStamps& stamps, const Holds& holds) noexcept
{
    const ServerStamps shifted{.receive = not_zero(stamps.receive - static_cast<std::uint64_t>(holds.forward.count())),
                               .transmit =
                                   not_zero(stamps.transmit + static_cast<std::uint64_t>(holds.backward.count()))};
    if (shifted.processing() < Ticks::zero()) {
        return std::nullopt;
    }
    return shifted;
}

} // namespace ntp_shim
