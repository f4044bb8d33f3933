// `upstream: clock`: the reply a head-end gives from its own system clock (design 6.9; RFC 5905 section 7.3).
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ntp_shim {

/// The NTP timestamp (32.32, era taken modulo 2^32 seconds) of a time on the system clock.
[[nodiscard]] std::uint64_t ntp_timestamp(std::chrono::nanoseconds since_unix_epoch) noexcept;
/// Signed seconds between two NTP timestamps, right across an era boundary (2036) when they are within 68 years.
[[nodiscard]] double seconds_between(std::uint64_t later, std::uint64_t earlier) noexcept;

struct ClockHeader {
    std::uint8_t stratum = 10;
    std::uint8_t leap = 0;
    std::int8_t precision = -20;
    std::chrono::nanoseconds root_dispersion = std::chrono::milliseconds{10};
    std::array<char, 4> reference_id = {'L', 'O', 'C', 'L'};
};

/// Answers `request` (at least 48 octets, mode 3): mode 4, the request's version and poll, origin = its transmit stamp.
/// `receive` and `transmit` are NTP timestamps; reference time is `receive` whole seconds down.
[[nodiscard]] std::array<std::byte, 48> clock_reply(std::span<const std::byte> request, const ClockHeader& header,
                                                    std::uint64_t receive, std::uint64_t transmit) noexcept;

} // namespace ntp_shim
