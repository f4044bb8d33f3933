// One entry of `tunnels`, read but not yet compared with the others; internal to the loader.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "gateway/claim_rules.hpp"
#include "gateway/config.hpp"
#include "gateway/config_reader.hpp"
#include "gateway/profile.hpp"

namespace gateway {

/// What every tunnel is read against.
struct LoadContext {
    const Profile& profile;
    const Limits& limits; // the process's
    std::filesystem::path base;
    std::vector<uid_t> owners; // who may own a secret, beside root
    Report& report;
};

/// A tunnel with the places of what a later check may object to.
struct TunnelDraft {
    Tunnel tunnel;
    bool sound = false; // no error so far: its TLS context may be tried
    bool has_role = false;
    bool has_channel = false; // written, or chosen by the profile
    Place place;
    Place name_place;
    Place upstream_place;
    std::vector<Place> listen_places; // one for each of tunnel.listen
    std::vector<Place> connect_places;
    std::vector<Place> ke_listen_places; // one for each of tunnel.ke_listen
    Place tls_place;
    std::map<std::string, Place, std::less<>> tls_places; // by key of the tls block, or under ssh of that one
};

[[nodiscard]] TunnelDraft read_tunnel(const Value& entry, const LoadContext& context);

/// The `tls:` block; `draft` knows its role and framing.
void read_tls(const Value& block, const LoadContext& context, TunnelDraft& draft);

/// `last-good-time` of the `tls:` block, and the clock of certificate-time: bootstrap where that is `chosen`.
void read_bootstrap(Section& section, bool chosen, const LoadContext& context, TunnelDraft& draft);

/// What the blocks of a tunnel without `channel` leave possible: its `tls:` block is good for tls and dtls as far as
/// its framing and the versions and suites it names let it.
[[nodiscard]] Blocks possible_blocks(Section& tunnel, Framing framing, const Profile& profile);

/// `upstream` and `upstream-unprotected`; `draft` knows its role and channel.
void read_upstream(Section& tunnel, const LoadContext& context, TunnelDraft& draft);
/// The map of `clock:`.
void read_clock(const Value& block, const LoadContext& context, TunnelDraft& draft);
/// The `faults:` block; `draft` has its mac: block and its timing.
void read_faults(const Value& block, const LoadContext& context, TunnelDraft& draft);

/// The `dtls:` block; `draft` knows its channel.
void read_dtls(const Value& block, const LoadContext& context, TunnelDraft& draft);

/// The `timing:` block; `draft` knows its role.
void read_timing(const Value& block, Report& report, TunnelDraft& draft);

/// The `mac:` block, of channel mac or as the inner seal of another; `draft` knows its role and channel.
void read_mac(const Value& block, const LoadContext& context, TunnelDraft& draft);
/// The `nts:` block of channel nts; `draft` knows its role and listeners.
void read_nts(const Value& block, const LoadContext& context, TunnelDraft& draft);
/// The same, and the blocks that stand beside it.
void read_nts_blocks(Section& tunnel, const LoadContext& context, TunnelDraft& draft);

/// `source-port` of a client role.
void read_source_port(const Value& value, Report& report, Tunnel& tunnel);
/// The `ssh:` block; `draft` knows its role, and whether it listens on stdio.
void read_ssh(const Value& block, const LoadContext& context, TunnelDraft& draft);

/// The `limits:` block, of the process or, with the process's as `ceiling`, of a tunnel.
void read_limits(const Value& block, Report& report, const Limits* ceiling, Limits& limits);

/// A key that only the other role has: reported. Asks `section` for it, so that it counts as known.
void refuse_other_role(Section& section, std::string_view key, Role role, Report& report);

} // namespace gateway
