// The server role's judgement: which messages of a peer reach the daemon, and which of the daemon's datagrams answer
// them. One for each tunnel; it keeps an exchange only until it is answered or too old.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/seal.hpp"

namespace ntp_shim {

struct ServerPolicy {
    Framing framing = Framing::v1;
    Nanoseconds max_age = std::chrono::milliseconds{500};
    Nanoseconds max_round_trip = std::chrono::seconds{1}; // how long the daemon may take
    Nanoseconds max_uncorrected = std::chrono::milliseconds{5};
    // Shift the reply by our own hold before it is sealed, and under raw framing; other frames only report it.
    bool correct_hold = true;
    ExchangeLimits limits; // per_client and the rate: datagrams only, since a channel's peer stands for many clients
    std::uint64_t hash_seed{}; // random, from the caller: who sends packets must not foresee their place in our tables
};

struct ToUpstream { // `packet` lives until the next call
    ExchangeHandle exchange;
    Bytes packet;
};
struct ToChannel { // a frame (v1) or packet (raw); lives until the next call
    ChannelNumber channel{};
    Bytes message;
};
struct Refusal { // a datagram that does not reach the daemon
    DropReason reason;
    Bytes answer; // what the asker is told, empty for nothing; lives until the next call, counted nowhere else
};

class ServerShim {
public:
    /// `counters` and `seal` must outlive the shim. With a seal, every request is opened before the daemon hears of it,
    /// and its reply sealed.
    ServerShim(const ServerPolicy& policy, Counters& counters, ServerSeal* seal = nullptr);
    ~ServerShim();
    ServerShim(const ServerShim&) = delete;
    ServerShim& operator=(const ServerShim&) = delete;

    void open_channel(ChannelNumber channel, const ChannelSeed& seed);
    void close_channel(ChannelNumber channel);

    /// One message of an authenticated peer: a frame (v1), or one packet that RawSplitter cut from a record (raw).
    /// `fresh_stamp` is 64 random bits for the transmit field towards the daemon; zero is not used.
    /// ToUpstream's hold ends at `now`; ToChannel is a pong. A peer is still an input: everything is checked again.
    [[nodiscard]] std::variant<ToUpstream, ToChannel, Drop>
    on_message(ChannelNumber channel, Bytes message, Instant arrival, Instant now, std::uint64_t fresh_stamp);
    /// Framing datagram: one packet from a client of the world; otherwise as on_message.
    [[nodiscard]] std::variant<ToUpstream, Refusal>
    on_datagram(const ClientEndpoint& from, Bytes datagram, Instant arrival, Instant now, std::uint64_t fresh_stamp);
    /// The socket did not take it: counts `reason` instead of forwarded, ends the exchange.
    void refuse(ExchangeHandle exchange, DropReason reason);

    /// A datagram from the daemon. The reply frame's backward hold ends, and its send stamp is, `now`. Deliver: framing
    /// datagram.
    [[nodiscard]] std::variant<ToChannel, Deliver, Drop> on_upstream_datagram(Bytes datagram, Instant arrival,
                                                                              Instant now);
    /// The channel did not take the reply that on_upstream_datagram gave: counts `reason` instead of forwarded.
    void refuse_reply(DropReason reason);

    /// Frame v1: the message that asks the peer to open a new channel. Lives until the next call; empty under raw.
    [[nodiscard]] Bytes make_goodbye(ChannelNumber channel, Instant now);

    [[nodiscard]] std::size_t open(ChannelNumber channel) const; // exchanges of one channel not yet answered
    [[nodiscard]] std::size_t open() const noexcept;
    void expire(Instant now);
    [[nodiscard]] std::optional<Nanoseconds> next_deadline() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace ntp_shim
