// What no tunnel can know of itself: clashes, loops and traps between tunnels, this host and the outside; internal to
// the loader.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gateway/config_tunnel.hpp"

namespace gateway {

struct RuleContext {
    const Profile& profile;
    std::optional<std::uint64_t> require_sources; // the least number of client tunnels with distinct peers
    Place require_sources_place;
    bool fips = false;
    Report& report;
};

/// Reports what is wrong between tunnels, sets their claims, and tries the TLS settings of those that are sound.
void check_rules(std::vector<TunnelDraft>& tunnels, const RuleContext& context);

} // namespace gateway
