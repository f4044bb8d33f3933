// A client shim with its counters and a far end that answers as the test says; the sums are checked after every step.
#pragma once

#include <map>
#include <string>
#include <variant>

#include "ntp-shim/client_shim.hpp"
#include "tests/unit/ntp-shim/packets.hpp"

namespace packets {

using ntp_shim::ChannelNumber;
using ntp_shim::ClientEndpoint;
using ntp_shim::Nanoseconds;

inline constexpr ntp_shim::ChannelSeed kSeed{.first_id = 1000, .stamp_offset = 0xfedc000000000000};

/// What a server role's reply frame says beside the packet.
struct FarEnd {
    Nanoseconds forward{};
    Nanoseconds backward{};
    ChannelNumber channel = 1;
};

class ClientRig {
public:
    explicit ClientRig(const ntp_shim::ClientPolicy& policy = {}) : shim(policy, counters) {}

    /// Opens channel 1 first.
    static ntp_shim::ClientPolicy raw()
    {
        ntp_shim::ClientPolicy policy;
        policy.framing = ntp_shim::Framing::raw;
        return policy;
    }
    void open(ChannelNumber channel = 1, Nanoseconds t = 0s) { shim.open_channel(channel, kSeed, at(t)); }

    /// The word it was dropped under, or "".
    std::string take(Bytes datagram, Nanoseconds t, bool channel_open = true, const ClientEndpoint& from = endpoint())
    {
        const auto verdict = shim.on_client_datagram(from, datagram, at(t), at(t), channel_open);
        if (const auto* taken = std::get_if<ntp_shim::ExchangeHandle>(&verdict)) {
            last = *taken;
        }
        check_sums();
        return dropped(verdict);
    }
    std::string hand_over(Nanoseconds t, ChannelNumber channel = 1) { return hand_over(last, t, channel); }
    std::string hand_over(ntp_shim::ExchangeHandle exchange, Nanoseconds t, ChannelNumber channel = 1)
    {
        const auto verdict = shim.hand_over(exchange, channel, at(t));
        message.clear();
        if (const auto* octets = std::get_if<Bytes>(&verdict)) {
            message = copy(*octets);
        }
        check_sums();
        return dropped(verdict);
    }
    /// Takes a datagram and hands it over at once; the message is in `message`.
    void ask(Bytes datagram, Nanoseconds t, const ClientEndpoint& from = endpoint())
    {
        REQUIRE(take(datagram, t, true, from) == "");
        REQUIRE(hand_over(t) == "");
    }

    /// A reply frame to the request frame in `message`.
    [[nodiscard]] Octets frame(Bytes packet, const FarEnd& far = {}) const
    {
        return encode({.type = ntp_shim::FrameType::reply,
                       .id = decode(message).id,
                       .sent = 2000,
                       .arrived = 1000,
                       .forward_hold = ntp_shim::hold_field(far.forward).value(),
                       .backward_hold = ntp_shim::hold_field(far.backward).value(),
                       .packet = packet});
    }
    /// Delivers a message; `held`: how long the client role keeps it. The word it was dropped under, or "".
    std::string receive(Bytes octets, Nanoseconds t, Nanoseconds held = 0s, ChannelNumber channel = 1)
    {
        const auto verdict = shim.on_message(channel, octets, at(t), at(t + held));
        delivered.clear();
        if (const auto* delivery = std::get_if<ntp_shim::Deliver>(&verdict)) {
            delivered = copy(delivery->packet);
            asker = delivery->client;
        }
        control.reset();
        if (const auto* seen = std::get_if<ntp_shim::Control>(&verdict)) {
            control = *seen;
        }
        check_sums();
        return dropped(verdict);
    }
    std::string answer(const Fields& reply, Nanoseconds t, const FarEnd& far = {}, Nanoseconds held = 0s)
    {
        return receive(frame(packet(reply), far), t, held, far.channel);
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
        REQUIRE(counters.requests.waiting == shim.waiting());
        REQUIRE(counters.exchanges.open + counters.requests.waiting == shim.open());
    }
    [[nodiscard]] std::uint64_t drops(ntp_shim::DropReason reason) const
    {
        return counters.requests.drops.at(static_cast<std::size_t>(reason));
    }

    ntp_shim::Counters counters;
    ntp_shim::ClientShim shim;
    ntp_shim::ExchangeHandle last;
    Octets message;   // the last handed over
    Octets delivered; // the last reply
    ClientEndpoint asker;
    std::optional<ntp_shim::Control> control;
};

} // namespace packets
