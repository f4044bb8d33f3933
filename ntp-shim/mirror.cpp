#include "ntp-shim/mirror.hpp"

#include <algorithm>
#include <limits>

#include "ntp-shim/clock_reply.hpp"
#include "ntp-shim/hold.hpp"

namespace ntp_shim {

namespace {

constexpr std::size_t kRootDispersion = 8; // octet offset of the 16.16 field
constexpr Nanoseconds kStep = std::chrono::microseconds{500};
constexpr std::int64_t kSlewPerMillion = 1000; // twice what the kernel's own discipline slews at most
constexpr std::int64_t kAgingPerMillion = 15;  // RFC 5905: PHI

Nanoseconds magnitude(Nanoseconds interval) noexcept
{
    return interval < Nanoseconds::zero() ? -interval : interval;
}

Nanoseconds per_million(Nanoseconds interval, std::int64_t rate) noexcept
{
    return interval / 1'000'000 * rate;
}

/// 16.16 seconds, rounded up.
std::uint32_t short_format(Nanoseconds interval) noexcept
{
    constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
    const auto count = static_cast<std::uint64_t>(std::clamp<std::int64_t>(interval.count(), 0, 60'000'000'000'000));
    return static_cast<std::uint32_t>(((count << 16) + kNanosecondsPerSecond - 1) / kNanosecondsPerSecond);
}

Nanoseconds to_nanoseconds(Ticks ticks) noexcept
{
    return std::chrono::duration_cast<Nanoseconds>(std::chrono::duration<double>(ticks));
}

} // namespace

std::string_view name(MirrorFault fault) noexcept
{
    switch (fault) {
    case MirrorFault::starting:
        return "starting";
    case MirrorFault::unsynchronised:
        return "unsynchronised";
    case MirrorFault::offset:
        return "offset";
    case MirrorFault::missed:
        return "missed";
    case MirrorFault::clock_step:
        return "clock_step";
    }
    return "unknown";
}

void Mirror::fail(MirrorFault fault)
{
    fault_ = fault;
    good_ = 0;
}

void Mirror::on_clock(const ClockPair& now)
{
    if (last_clock_) {
        const auto elapsed = now.raw - last_clock_->raw;
        const auto drift = (now.wall - last_clock_->wall) - elapsed;
        if (magnitude(drift) > kStep + per_million(magnitude(elapsed), kSlewPerMillion)) {
            fail(MirrorFault::clock_step);
        }
    }
    last_clock_ = now;
}

void Mirror::on_step()
{
    fail(MirrorFault::clock_step);
    last_clock_.reset(); // no second step is to be seen in the first one
}

void Mirror::on_missed()
{
    if (++missed_ >= policy_.max_missed) {
        fail(MirrorFault::missed);
    }
}

void Mirror::on_poll(const Poll& poll)
{
    const auto reply = Packet::parse(poll.reply);
    on_clock(poll.received);
    if (!reply || reply->is_unsynchronised() || reply->receive == 0 || reply->transmit == 0) {
        fail(MirrorFault::unsynchronised);
        return;
    }
    const auto sent = ntp_timestamp(poll.sent_wall);
    const auto received = ntp_timestamp(poll.received.wall);
    const auto there = to_nanoseconds(stamp_difference(reply->receive, sent));
    const auto back = to_nanoseconds(stamp_difference(reply->transmit, received));
    // Halved before they are added: a lying stamp may be 68 years off.
    const auto offset = there / 2 + back / 2;
    if (magnitude(offset) > policy_.max_offset) {
        // An offset is known to half of the round trip: what may be right says nothing.
        const auto uncertainty = magnitude(there - back) / 2;
        magnitude(offset) - uncertainty > policy_.max_offset ? fail(MirrorFault::offset) : on_missed();
        return;
    }
    missed_ = 0;
    std::ranges::copy(poll.reply.first(kHeaderSize), header_.begin());
    offset_ = offset;
    polled_ = poll.received.raw;
    if (++good_ >= policy_.good_polls) {
        good_ = policy_.good_polls;
        fault_.reset();
    }
}

std::optional<std::array<std::byte, kHeaderSize>> Mirror::answer(const Arrived& arrived) const
{
    const auto asked = Packet::parse(arrived.request);
    if (fault_ || !asked || stamp_difference(arrived.transmit, arrived.receive) < Ticks::zero()) {
        return std::nullopt;
    }
    auto reply = header_;
    const auto shown = Packet::parse(reply).value_or(Packet{});
    reply[0] = static_cast<std::byte>(shown.leap << 6 | asked->version << 3 | kModeServer);
    reply[2] = static_cast<std::byte>(asked->poll);
    ByteReader reader(Bytes{reply}.subspan(kRootDispersion));
    const std::uint64_t added = short_format(magnitude(offset_) + per_million(arrived.raw - polled_, kAgingPerMillion));
    const auto dispersion = std::min<std::uint64_t>(reader.u32() + added, std::numeric_limits<std::uint32_t>::max());
    ByteWriter(std::span{reply}.subspan(kRootDispersion)).u32(static_cast<std::uint32_t>(dispersion));
    write_stamp(reply, StampField::origin, asked->transmit);
    write_stamp(reply, StampField::receive, arrived.receive);
    write_stamp(reply, StampField::transmit, arrived.transmit);
    return reply;
}

} // namespace ntp_shim
