// What a query found: samples to figures, figures to text or JSON.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "gateway/query.hpp"
#include "ntp-shim/packet.hpp"

namespace gateway {

inline constexpr std::size_t kQueryPacket = 48;

/// A client packet of version 4: mode 3, `transmit` random, everything else zero (data minimisation).
[[nodiscard]] std::array<std::byte, kQueryPacket> query_packet(std::uint64_t transmit) noexcept;

struct QuerySample {
    double offset{}; // seconds, server minus local
    double delay{};
    std::uint8_t stratum{};
    std::uint8_t leap{};
    std::uint8_t version{};
    std::uint32_t reference_id{};
};

/// `sent` and `received` on the wall clock. Offset and delay as in RFC 5905
/// section 8, computed from 64-bit differences, so that an era's end does not matter.
[[nodiscard]] QuerySample query_sample(const ntp_shim::Packet& reply, std::chrono::nanoseconds sent,
                                       std::chrono::nanoseconds received) noexcept;

struct QueryFailure {
    std::string step; // "resolve", "connect", "exchange"
    std::string reason;
    std::string text;
};

struct QueryReport {
    std::string channel;
    std::string peer;
    std::vector<QuerySample> samples;
    QueryFailure failure; // when there are no samples
};

/// Offset and delay are those of the sample with the least delay, the one least disturbed; jitter is the root mean
/// square of the others' offsets from it. Returns the exit code.
int print_report(const QueryReport& report, bool json, std::ostream& out);

} // namespace gateway
