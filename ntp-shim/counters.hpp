// Every input is accounted for once: what a shim counts, and the sums that must hold.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "ntp-shim/drop_reason.hpp"

namespace ntp_shim {

/// One direction of one head-end. Always: received == forwarded + control + all drops + waiting.
struct Ledger {
    std::uint64_t received{};
    std::uint64_t forwarded{};
    std::uint64_t control{}; // ping, pong, goodbye
    std::uint64_t waiting{}; // requests that wait for a channel; a gauge
    std::array<std::uint64_t, kDropReasons> drops{};

    void drop(DropReason reason) noexcept { ++drops[static_cast<std::size_t>(reason)]; }
    [[nodiscard]] std::uint64_t dropped() const noexcept
    {
        std::uint64_t sum = 0;
        for (const auto count : drops) {
            sum += count;
        }
        return sum;
    }
    [[nodiscard]] bool balanced() const noexcept { return received == forwarded + control + dropped() + waiting; }
};

/// Exchanges that reached the carrier or the daemon. Always: opened == answered + lost + replaced + abandoned + open.
struct ExchangeCounts {
    std::uint64_t opened{};
    std::uint64_t answered{};
    std::uint64_t lost{};      // max-round-trip passed without a reply that could be delivered
    std::uint64_t replaced{};  // newest wins
    std::uint64_t abandoned{}; // its channel closed
    std::uint64_t open{};      // a gauge

    [[nodiscard]] bool balanced() const noexcept { return opened == answered + lost + replaced + abandoned + open; }
};

/// Client role: requests are local datagrams, replies are frames. Server role: requests are frames, replies are the
/// daemon's datagrams.
struct Counters {
    Ledger requests;
    Ledger replies;
    ExchangeCounts exchanges;
};

} // namespace ntp_shim
