#include "gateway/config_tunnel.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "gateway/claim_rules.hpp"
#include "gateway/config_values.hpp"
#include "ntp-shim/frame.hpp"
#include "transports/dtls.hpp"

namespace gateway {

namespace {

using transports::TlsPolicy;

const YamlNode* member(const YamlNode& map, std::string_view key)
{
    const auto found = std::ranges::find(map.children, key, &YamlNode::name);
    return map.kind == YamlNode::Kind::map && found != map.children.end() ? &*found : nullptr;
}

// Whether the block names something that `other` offers and `own` does not.
bool needs_other(const YamlNode& block, const TlsPolicy& own, const TlsPolicy& other)
{
    constexpr std::array kLists = {std::pair{std::string_view{"versions"}, &TlsPolicy::versions},
                                   std::pair{std::string_view{"suites"}, &TlsPolicy::suites}};
    return std::ranges::any_of(kLists, [&](const auto& list) {
        const auto* const written = member(block, list.first);
        return written != nullptr && std::ranges::any_of(written->children, [&](const YamlNode& item) {
                   const auto has = [&](const TlsPolicy& policy) {
                       return std::ranges::count(policy.*list.second, item.text) > 0;
                   };
                   return has(other) && !has(own);
               });
    });
}

} // namespace

Blocks possible_blocks(Section& tunnel, Framing framing, const Profile& profile)
{
    const auto tls = tunnel.find("tls");
    Blocks blocks{false, false, tunnel.has("ssh"), tunnel.has("mac"), tunnel.has("nts")};
    if (!tunnel.has("tls") || blocks.nts) {
        return blocks; // beside nts: it belongs to the key establishment
    }
    const auto fits = [&](bool datagrams) {
        if (datagrams && framing == Framing::raw) {
            return false;
        }
        const auto& own = datagrams ? profile.dtls : profile.tls;
        const auto& other = datagrams ? profile.tls : profile.dtls;
        return tls.node == nullptr || !needs_other(*tls.node, own, other);
    };
    blocks.tls_fits = fits(false);
    blocks.dtls_fits = fits(true);
    return blocks;
}

void read_dtls(const Value& block, const LoadContext& context, TunnelDraft& draft)
{
    Section section{block, context.report};
    auto& tunnel = draft.tunnel;
    section.number("mtu", {transports::kLowestMtu, transports::kHighestMtu}, tunnel.mtu);
    const auto place = section.place("mtu");
    section.finish();
    if (tunnel.channel != ChannelKind::dtls) {
        if (block) {
            context.report.warning(block.place(), fmt::format("has no effect under channel {}", name(tunnel.channel)));
        }
        return;
    }
    // IPv6 leaves the least. Ordinary requests need little; what is longer is dropped as oversize, one by one.
    const auto room = transports::message_room(tunnel.mtu, true);
    if (room < ntp_shim::kMaxFrame) {
        const auto packet = room > ntp_shim::kFrameHeaderSize ? room - ntp_shim::kFrameHeaderSize : 0;
        context.report.warning(place, fmt::format("{} leaves room for NTP packets of {} octets; longer ones, with "
                                                  "extension fields, are dropped as oversize",
                                                  tunnel.mtu, packet));
    }
}

} // namespace gateway
