// What the client role's shim is made of; internal to it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include "ntp-shim/client_exchanges.hpp"
#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/frame.hpp"
#include "ntp-shim/hold.hpp"
#include "ntp-shim/packet.hpp"
#include "ntp-shim/seal.hpp"

namespace ntp_shim {

/// A reply as it came from a channel, with the holds its frame tells (raw framing tells none).
struct Incoming {
    Bytes packet;
    Holds peer;
    Instant arrival;
    Instant now;
};

struct ClientShim::State {
    State(const ClientPolicy& the_policy, Counters& the_counters, ClientSeal* the_seal)
        : policy(the_policy), counters(the_counters), seal(the_seal), exchanges(the_policy, the_counters)
    {}

    using Slot = std::uint32_t;
    using Judgement = std::variant<Deliver, Control, DropReason>;

    std::variant<Slot, DropReason> take(const ClientExchanges::Arrived& request, bool channel_open);
    std::optional<DropReason> check_hand_over(Slot slot, const ClientChannel* channel, Instant now) const;
    std::optional<DropReason> seal_request(Slot slot, std::uint64_t fresh_stamp);
    Judgement on_frame(ClientChannel& channel, Bytes message, Instant arrival, Instant now);
    Judgement on_packet(ClientChannel& channel, Bytes message, Instant arrival, Instant now);
    Judgement answer(Slot slot, const Incoming& incoming);
    std::variant<Packet, DropReason> open(const ClientExchange& exchange, Bytes reply) const;
    std::optional<DropReason> weigh(const ClientExchange& exchange, const Packet& reply, const Incoming& incoming);
    void expire_waiting(Nanoseconds boot);
    static std::optional<Nanoseconds> oldest_hand_over(const ClientExchanges& exchanges, const ClientChannel& channel);

    const ClientPolicy policy;
    Counters& counters;
    ClientSeal* const seal;
    ClientExchanges exchanges;
    SealBuffer sealed{};                       // what hand_over gives, or puts into a frame
    std::uint32_t kiss = 0;                    // of the reply just judged, when a seal vouches for it
    FrameBuffer message{};                     // what hand_over and make_ping give
    std::array<std::byte, kMaxPacket> reply{}; // what on_message gives
};

} // namespace ntp_shim
