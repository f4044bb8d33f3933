// What the server role's shim is made of; internal to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include "ntp-shim/frame.hpp"
#include "ntp-shim/packet.hpp"
#include "ntp-shim/rate_limit.hpp"
#include "ntp-shim/recent_requests.hpp"
#include "ntp-shim/seal.hpp"
#include "ntp-shim/server_exchanges.hpp"
#include "ntp-shim/server_shim.hpp"

namespace ntp_shim {

/// A request as it came from a channel, and when it is handed to the daemon.
struct ServerRequest {
    std::uint32_t id{}; // framing v1
    Bytes octets;
    Instant arrival;
    Instant now;
    const ClientEndpoint* from = nullptr; // framing datagram
};

/// The daemon's answer, and when it is handed to the channel.
struct DaemonAnswer {
    Bytes octets;
    Packet packet;
    Instant arrival;
    Instant now;
};

struct ServerShim::State {
    State(const ServerPolicy& the_policy, Counters& the_counters, ServerSeal* the_seal)
        : policy(the_policy), counters(the_counters), seal(the_seal), exchanges(the_policy, the_counters),
          genuine(the_policy.hash_seed)
    {}

    using FromChannel = std::variant<ToUpstream, ToChannel, DropReason>;
    using FromUpstream = std::variant<ToChannel, Deliver, DropReason>;

    FromChannel on_frame(ServerChannel& channel, Bytes message, const ServerRequest& request, std::uint64_t fresh);
    FromChannel on_ping(ServerChannel& channel, std::uint32_t id, const ServerRequest& ping);
    FromChannel on_request(ServerChannel& channel, const ServerRequest& request, std::uint64_t fresh);
    std::optional<DropReason> check_shape(const ServerRequest& request) const;
    bool is_replay(const ServerRequest& request, const SealMemoryPointer& memory);
    std::variant<ClientAccounts::Number, DropReason> admit(const ServerRequest& request);
    std::optional<DropReason> check(const ServerChannel& channel, const ServerRequest& request) const;
    std::variant<std::uint64_t, DropReason> upstream_stamp(const Packet& packet, std::uint64_t fresh) const;
    FromUpstream on_answer(const DaemonAnswer& answer);
    FromUpstream reply(const ServerExchange& exchange, const DaemonAnswer& answer);
    FromUpstream frame_reply(const ServerExchange& exchange, const DaemonAnswer& answer, std::size_t length);
    std::optional<DropReason> correct_reply(const ServerExchange& exchange, const DaemonAnswer& answer);
    void copy_reply(const ServerExchange& exchange, const DaemonAnswer& answer);

    const ServerPolicy policy;
    Counters& counters;
    ServerSeal* const seal;
    ServerExchanges exchanges;
    RecentRequests genuine; // opened by the seal
    TokenBucket refusals;
    FrameBuffer message{}; // towards a channel
    SealBuffer packet{};   // towards the daemon, or a reply before it is framed
};

} // namespace ntp_shim
