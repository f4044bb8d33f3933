// A server shim with its counters and one open channel; the sums are checked after every step.
#pragma once

#include <string>
#include <variant>

#include "ntp-shim/server_shim.hpp"
#include "tests/unit/ntp-shim/packets.hpp"

namespace packets {

inline constexpr ntp_shim::ChannelSeed kServerSeed{.first_id = 5000, .stamp_offset = 0x123456789abcdef0};

class ServerRig {
public:
    using Nanoseconds = ntp_shim::Nanoseconds;

    explicit ServerRig(const ntp_shim::ServerPolicy& policy = {}) : shim(policy, counters)
    {
        shim.open_channel(1, kServerSeed);
    }
    static ntp_shim::ServerPolicy raw()
    {
        ntp_shim::ServerPolicy policy;
        policy.framing = ntp_shim::Framing::raw;
        return policy;
    }

    /// A request frame that arrived at `t` and is handed on at `now`. The word it was dropped under, or "".
    std::string ask(std::uint32_t id, Bytes packet, Nanoseconds t, std::uint64_t fresh = 99, Nanoseconds now = 0s,
                    ntp_shim::ChannelNumber on = 1)
    {
        return receive(encode({.type = ntp_shim::FrameType::request, .id = id, .sent = 77, .packet = packet}), t,
                       std::max(t, now), on, fresh);
    }
    std::string receive(Bytes message, Nanoseconds t, Nanoseconds now = 0s, ntp_shim::ChannelNumber on = 1,
                        std::uint64_t fresh = 99)
    {
        const auto verdict = shim.on_message(on, message, at(t), at(std::max(t, now)), fresh);
        if (const auto* forward = std::get_if<ntp_shim::ToUpstream>(&verdict)) {
            to_daemon = copy(forward->packet);
            last = forward->exchange;
        }
        if (const auto* pong = std::get_if<ntp_shim::ToChannel>(&verdict)) {
            to_channel = copy(pong->message);
            channel = pong->channel;
        }
        check_sums();
        return dropped(verdict);
    }
    /// The daemon's datagram, arrived at `t` and handed on at `now`.
    std::string receive_from_daemon(Bytes datagram, Nanoseconds t, Nanoseconds now = 0s)
    {
        const auto verdict = shim.on_upstream_datagram(datagram, at(t), at(std::max(t, now)));
        if (const auto* reply = std::get_if<ntp_shim::ToChannel>(&verdict)) {
            to_channel = copy(reply->message);
            channel = reply->channel;
        }
        check_sums();
        return dropped(verdict);
    }
    std::string answer(const Fields& reply, Nanoseconds t, Nanoseconds now = 0s)
    {
        return receive_from_daemon(packet(reply), t, now);
    }
    void expire(Nanoseconds t)
    {
        shim.expire(at(t));
        check_sums();
    }
    void check_sums() const
    {
        REQUIRE(counters.requests.balanced());
        REQUIRE(counters.replies.balanced());
        REQUIRE(counters.exchanges.balanced());
        REQUIRE(counters.requests.waiting == 0);
        REQUIRE(counters.exchanges.open == shim.open());
    }

    ntp_shim::Counters counters;
    ntp_shim::ServerShim shim;
    ntp_shim::ExchangeHandle last;
    ntp_shim::ChannelNumber channel{};
    Octets to_daemon;  // the last packet handed to the daemon
    Octets to_channel; // the last message for a channel
};

} // namespace packets
