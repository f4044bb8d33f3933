#include "gateway/config_rules.hpp"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "gateway/address.hpp"
#include "gateway/carrier.hpp"
#include "gateway/claim_rules.hpp"
#include "gateway/config_values.hpp"
#include "gateway/own_listeners.hpp"

namespace gateway {

namespace {

constexpr std::size_t kSources = 3; // FCS_NTP_EXT.1.4

struct Listener {
    const TunnelDraft* tunnel{};
    SocketAddress address;
    Place place;
    bool udp = false;
};

bool listens_on_udp(const Tunnel& tunnel) noexcept
{
    return tunnel.role == Role::client || tunnel.channel == ChannelKind::dtls || tunnel.channel == ChannelKind::mac ||
           tunnel.channel == ChannelKind::nts;
}

std::vector<Listener> listeners_of(const std::vector<TunnelDraft>& tunnels)
{
    std::vector<Listener> listeners;
    for (const auto& draft : tunnels) {
        for (std::size_t at = 0; draft.has_role && at < draft.tunnel.listen.size(); ++at) {
            listeners.push_back(
                {&draft, draft.tunnel.listen[at], draft.listen_places[at], listens_on_udp(draft.tunnel)});
        }
        for (std::size_t at = 0; at < draft.tunnel.ke_listen.size(); ++at) {
            listeners.push_back({&draft, draft.tunnel.ke_listen[at], draft.ke_listen_places[at], false});
        }
    }
    return listeners;
}

void check_names(const std::vector<TunnelDraft>& tunnels, Report& report)
{
    for (auto later = tunnels.begin(); later != tunnels.end(); ++later) {
        const auto& wanted = later->tunnel.name;
        const auto first =
            std::find_if(tunnels.begin(), later, [&](const TunnelDraft& draft) { return draft.tunnel.name == wanted; });
        if (!wanted.empty() && first != later) {
            report.error(later->name_place, fmt::format("{} is the name of another tunnel (expected another; first at "
                                                        "{})",
                                                        shown(wanted), report.where(first->name_place)));
        }
    }
}

void check_clashes(const std::vector<Listener>& listeners, Report& report)
{
    for (auto later = listeners.begin(); later != listeners.end(); ++later) {
        const auto first = std::find_if(listeners.begin(), later, [&](const Listener& other) {
            return other.udp == later->udp && clash(other.address, later->address);
        });
        if (first != later) {
            report.error(later->place, fmt::format("{} clashes with {} of tunnel {} at {} (expected another address or "
                                                   "port)",
                                                   later->address.text(), first->address.text(),
                                                   shown(first->tunnel->tunnel.name), report.where(first->place)));
        }
    }
}

void check_upstream(const TunnelDraft& draft, const std::vector<Listener>& listeners, Report& report)
{
    const auto* daemon = draft.tunnel.upstream ? std::get_if<DaemonUpstream>(&*draft.tunnel.upstream) : nullptr;
    const auto* mirror = draft.tunnel.upstream ? std::get_if<MirrorUpstream>(&*draft.tunnel.upstream) : nullptr;
    if (daemon == nullptr && mirror == nullptr) {
        return;
    }
    const auto& address = daemon != nullptr ? daemon->address : mirror->address;
    const auto text = address.text();
    for (const auto& listener : listeners) {
        if (listener.udp && reaches(address, listener.address)) {
            report.error(draft.upstream_place,
                         fmt::format("{} is where tunnel {} listens, at {}: a loop (expected the "
                                     "NTP daemon)",
                                     text, shown(listener.tunnel->tunnel.name), report.where(listener.place)));
            return;
        }
    }
    if (locality_of(address) == Locality::local) {
        return;
    }
    if (mirror != nullptr) {
        report.error(draft.upstream_place,
                     fmt::format("{} is not an address of this host, whose clock a mirror answers "
                                 "from (expected a local address)",
                                 text));
    } else if (draft.tunnel.upstream_unprotected) {
        report.warning(draft.upstream_place, fmt::format("{} is asked in the clear (upstream-unprotected)", text));
    } else {
        report.error(draft.upstream_place, fmt::format("{} is not an address of this host (expected a local address, "
                                                       "or upstream-unprotected: true)",
                                                       text));
    }
}

void check_targets(const TunnelDraft& draft, const std::vector<Listener>& listeners, Report& report)
{
    for (std::size_t at = 0; at < draft.tunnel.connect.size(); ++at) {
        const auto& target = draft.tunnel.connect[at];
        const auto address = numeric_host(target.host, target.port);
        const auto own = std::find_if(listeners.begin(), listeners.end(), [&](const Listener& listener) {
            return address && listener.tunnel->tunnel.role == Role::server &&
                   listener.tunnel->tunnel.channel == draft.tunnel.channel &&
                   listener.udp ==
                       (draft.tunnel.channel == ChannelKind::dtls || draft.tunnel.channel == ChannelKind::mac) &&
                   reaches(*address, listener.address);
        });
        if (own != listeners.end()) {
            report.error(draft.connect_places[at],
                         fmt::format("{} is where tunnel {} listens, at {}: a loop (expected another host)",
                                     target.text(), shown(own->tunnel->tunnel.name), report.where(own->place)));
        }
    }
}

// Addresses that work for ntpgate and fail for the NTP client beside it (design 7).
void advise_on_loopback(const std::vector<Listener>& listeners, Report& report)
{
    for (auto later = listeners.begin(); later != listeners.end(); ++later) {
        if (later->tunnel->tunnel.role != Role::client) {
            continue;
        }
        const auto text = later->address.text();
        if (text.starts_with("127.0.0.1:") || text.starts_with("[::1]:")) {
            report.warning(later->place, fmt::format("{}: a client bound to port 123 of every address stands in its "
                                                     "way, and a daemon synchronised through it takes its own "
                                                     "reference id for a loop (recommended: 127.0.0.2:123)",
                                                     text));
        }
        const auto first = std::find_if(listeners.begin(), later, [&](const Listener& other) {
            return other.tunnel != later->tunnel && other.tunnel->tunnel.role == Role::client &&
                   same_host(other.address, later->address) && !clash(other.address, later->address);
        });
        if (first != later) {
            report.warning(later->place, fmt::format("{} shares its address with tunnel {}: an NTP daemon takes both "
                                                     "for one source (recommended: one 127.0.0.x:123 for each client "
                                                     "tunnel)",
                                                     text, shown(first->tunnel->tunnel.name)));
        }
    }
}

void check_sources(const std::vector<TunnelDraft>& tunnels, const RuleContext& context)
{
    std::set<std::string> peers;
    bool any = false;
    for (const auto& draft : tunnels) {
        if (draft.has_role && draft.tunnel.role == Role::client) {
            any = true;
            if (!draft.tunnel.connect.empty()) {
                peers.insert(draft.tunnel.connect.front().text());
            }
        }
    }
    if (context.require_sources && peers.size() < *context.require_sources) {
        context.report.error(context.require_sources_place,
                             fmt::format("{} client tunnels have distinct peers (expected at least {}, as "
                                         "require-sources says)",
                                         peers.size(), *context.require_sources));
    } else if (any && peers.size() < kSources && context.report.file() != kCommandLine) {
        context.report.warning({tunnels.front().place.at, "tunnels"},
                               fmt::format("fewer than {} client tunnels with distinct peers ({}): FCS_NTP_EXT.1.4 "
                                           "asks for them",
                                           kSources, peers.size()));
    }
}

/// What nobody vouches for cannot carry a claim: a mac tunnel that also answers requests without a MAC.
bool answers_without_mac(const Tunnel& tunnel)
{
    return tunnel.role == Role::server && tunnel.mac &&
           tunnel.mac->rules.unauthenticated == ntp_shim::Unauthenticated::serve;
}

void refuse_claim(TunnelDraft& draft, const Profile& profile, Report& report)
{
    if (profile.claim.requirement.empty()) {
        draft.tunnel.claim = fmt::format("none, under profile {}: requests without a MAC are answered", profile.name);
        return;
    }
    report.error({draft.place.at, draft.place.key + ".mac.unauthenticated"},
                 fmt::format("{}: serve answers requests that nothing protects, and cannot carry the claim under {} "
                             "(expected refuse)",
                             profile.claim.requirement, profile.name));
}

void set_claim(TunnelDraft& draft, const RuleContext& context)
{
    if (!draft.has_channel) {
        return; // told by now
    }
    const auto channel = draft.tunnel.channel;
    const bool is_sealed = draft.tunnel.mac && channel != ChannelKind::mac;
    auto verdict = judge_claim(context.profile, {channel, is_sealed, context.fips});
    auto* const claim = std::get_if<Claim>(&verdict);
    if (claim != nullptr && claim->carried_by == ChannelKind::mac && answers_without_mac(draft.tunnel)) {
        refuse_claim(draft, context.profile, context.report);
    } else if (claim != nullptr) {
        draft.tunnel.claim = std::move(claim->text);
    } else {
        context.report.error({draft.place.at, draft.place.key + ".channel"}, std::move(std::get<std::string>(verdict)));
    }
}

// Loads certificates and keys as `run` will, so that `check` finds what only the channel's library knows.
void try_carrier(const TunnelDraft& draft, Report& report)
{
    if (draft.tunnel.channel == ChannelKind::mac) {
        return; // its keys were read with the block
    }
    if (draft.tunnel.stdio) {
        return; // sshd has the files
    }
    if (draft.tunnel.channel == ChannelKind::nts && draft.tunnel.role == Role::server &&
        draft.tunnel.ke_listen.empty()) {
        return; // it has no certificate
    }
    const auto made = Carrier::make(draft.tunnel);
    const auto place = [&](const CarrierProblem& problem) {
        const auto known = draft.tls_places.find(problem.setting);
        return known == draft.tls_places.end() ? draft.tls_place : known->second;
    };
    if (const auto* problems = std::get_if<std::vector<CarrierProblem>>(&made)) {
        for (const auto& problem : *problems) {
            report.error(place(problem), problem.text);
        }
        return;
    }
    for (const auto& problem : std::get<std::unique_ptr<Carrier>>(made)->warnings()) {
        report.warning(place(problem), problem.text);
    }
}

} // namespace

void check_rules(std::vector<TunnelDraft>& tunnels, const RuleContext& context)
{
    auto& report = context.report;
    const auto listeners = listeners_of(tunnels);
    check_names(tunnels, report);
    check_clashes(listeners, report);
    for (auto& draft : tunnels) {
        check_upstream(draft, listeners, report);
        check_targets(draft, listeners, report);
        set_claim(draft, context);
        if (draft.sound) {
            try_carrier(draft, report);
        }
    }
    advise_on_loopback(listeners, report);
    check_sources(tunnels, context);
}

} // namespace gateway
