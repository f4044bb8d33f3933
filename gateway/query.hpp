// `ntpgate query`: asks the time as a client tunnel would, and says what came of it. Never sets a clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

#include "gateway/config.hpp"

namespace gateway {

struct QueryOptions {
    unsigned samples = 4;
    bool json = false;
    bool debug = false;                       // the log at its finest, on stderr
    std::chrono::milliseconds timeout{10000}; // for all of it
};

/// Opens a channel of its own as `tunnel` (client role) would. Exit code 0 with at least one sample, else 1.
[[nodiscard]] int query_tunnel(const Config& config, const Tunnel& tunnel, const QueryOptions& options,
                               std::ostream& out);

/// Plain NTP to `target`, without any channel: what a tunnel's answer is compared with.
[[nodiscard]] int query_plain(const Target& target, const QueryOptions& options, std::ostream& out);

} // namespace gateway
