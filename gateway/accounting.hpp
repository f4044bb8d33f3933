// What one tunnel counts, and how it is shown.
#pragma once

#include <array>
#include <cstdint>

#include <nlohmann/json_fwd.hpp>

#include "ntp-shim/counters.hpp"
#include "transports/channel.hpp"

namespace gateway {

struct ChannelCounters {
    std::uint64_t opened{};
    std::array<std::uint64_t, transports::kCloseReasons> closed{};
    std::array<std::uint64_t, transports::kCloseReasons> failed{};
    std::array<std::uint64_t, transports::kDiscards> discarded{}; // records of datagram carriers
};

/// Only what is not zero among reasons; every gauge and sum otherwise.
[[nodiscard]] nlohmann::ordered_json counters_json(const ntp_shim::Counters& ntp, const ChannelCounters& channels);
[[nodiscard]] nlohmann::ordered_json counters_json(const transports::ListenerCounters& listener);

} // namespace gateway
