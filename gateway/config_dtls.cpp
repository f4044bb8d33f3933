#include "gateway/config_tunnel.hpp"

#include <fmt/format.h>

#include "gateway/config_values.hpp"
#include "ntp-shim/frame.hpp"
#include "transports/dtls.hpp"

namespace gateway {

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
