#include "ntp-shim/clock_reply.hpp"

#include <algorithm>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/packet.hpp"

namespace ntp_shim {

namespace {

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr std::uint64_t kUnixEpoch = 2'208'988'800; // seconds from 1900 to 1970, RFC 5905 figure 4
constexpr std::uint64_t kWholeSeconds = 0xffffffff'00000000;

/// NTP short format: 16.16 seconds, the largest value for what does not fit.
std::uint32_t short_format(std::chrono::nanoseconds interval) noexcept
{
    constexpr std::chrono::nanoseconds kLargest = std::chrono::seconds{65535};
    const auto count = std::clamp(interval, std::chrono::nanoseconds::zero(), kLargest).count();
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(count) << 16) / kNanosecondsPerSecond);
}

} // namespace

std::uint64_t ntp_timestamp(std::chrono::nanoseconds since_unix_epoch) noexcept
{
    // Rounded down to whole seconds, so that the fraction is never negative, before 1970 either.
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_unix_epoch);
    const auto rest = static_cast<std::uint64_t>((since_unix_epoch - seconds).count());
    const auto fraction = ((rest << 32) + kNanosecondsPerSecond / 2) / kNanosecondsPerSecond;
    return ((static_cast<std::uint64_t>(seconds.count()) + kUnixEpoch) << 32) + fraction;
}

double seconds_between(std::uint64_t later, std::uint64_t earlier) noexcept
{
    return static_cast<double>(static_cast<std::int64_t>(later - earlier)) / static_cast<double>(1ULL << 32);
}

std::array<std::byte, 48> clock_reply(std::span<const std::byte> request, const ClockHeader& header,
                                      std::uint64_t receive, std::uint64_t transmit) noexcept
{
    const auto asked = Packet::parse(request).value_or(Packet{});
    std::array<std::byte, 48> reply{};
    ByteWriter writer(reply);
    writer.u8(static_cast<std::uint8_t>(header.leap << 6 | asked.version << 3 | kModeServer));
    writer.u8(header.stratum);
    writer.u8(asked.poll);
    writer.u8(static_cast<std::uint8_t>(header.precision));
    writer.u32(0); // root delay: the clock is our own
    writer.u32(short_format(header.root_dispersion));
    for (const auto letter : header.reference_id) {
        writer.u8(static_cast<std::uint8_t>(letter));
    }
    writer.u64(receive & kWholeSeconds);
    writer.u64(asked.transmit);
    writer.u64(receive);
    writer.u64(transmit);
    return reply;
}

} // namespace ntp_shim
