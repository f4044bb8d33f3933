// The client role's judgement: which local datagrams become requests, which frames become replies, and what a reply
// must say so that the time in it is right.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/counters.hpp"
#include "ntp-shim/seal.hpp"
#include "ntp-shim/time.hpp"

namespace ntp_shim {

using ChannelNumber = std::uint64_t; // the carrier's name for one channel; never used twice

/// Where a local request came from and where its reply goes. The shim compares it and limits by `address`, no more.
struct ClientEndpoint {
    std::array<std::byte, 16> address{}; // IPv4 as ::ffff:a.b.c.d
    std::array<std::byte, 16> local{};   // the address that was asked; same form
    std::uint32_t scope{};               // IPv6 zone, or 0
    std::uint16_t port{};                // host order
    std::uint16_t listener{};            // which of the tunnel's sockets
    bool operator==(const ClientEndpoint&) const = default;
};

enum class Framing : std::uint8_t {
    v1,
    raw,
    datagram, // standard NTP on UDP: a message is one sealed packet, a channel one connected socket
};

/// Random values one new channel starts from (frame v1, design 5); the caller owns the random source.
struct ChannelSeed {
    std::uint32_t first_id{};
    std::uint64_t stamp_offset{};
};

struct ExchangeLimits { // 0 = no limit
    std::uint32_t exchanges = 65536;
    std::uint32_t per_channel = 4096;
    std::uint32_t per_client = 16;
    std::uint32_t requests_per_second_per_client = 100;
};

struct ClientPolicy {
    Framing framing = Framing::v1;
    Nanoseconds max_age = std::chrono::milliseconds{500};
    Nanoseconds max_round_trip = std::chrono::seconds{1};
    Nanoseconds max_uncorrected = std::chrono::milliseconds{5};
    bool correct_hold = true;
    bool forward_kod = false;
    bool forward_unsynchronised = false;
    ExchangeLimits limits;
    std::uint64_t hash_seed{}; // random, from the caller: who sends packets must not foresee their place in our tables
};

struct Drop {
    DropReason reason;
    std::uint32_t kiss = 0; // the kiss code of a reply that a seal vouches for (kiss_of_death)
};

/// Names an exchange until it ends; a stale handle is recognised and refused, never confused with a newer one.
struct ExchangeHandle {
    std::uint32_t index{};
    std::uint32_t generation{};
    bool operator==(const ExchangeHandle&) const = default;
};

struct Deliver { // a reply for a local client; `packet` lives until the next call on the shim
    ClientEndpoint client;
    Bytes packet;
};
enum class Control : std::uint8_t { pong, goodbye };

/// What one channel's liveness asks for now (design 12).
enum class Health : std::uint8_t {
    good,
    ping_due,        // call make_ping and send it
    upstream_silent, // pings answered, requests not; reported once per silence
    dead,            // two pings unanswered 300 ms apart: close the channel
};

/// Pure: no socket, no clock, no thread, no log. Every call counts its input once in `Counters` (see Ledger); the
/// returned Drop says which reason was counted and needs no further counting.
class ClientShim {
public:
    /// `counters` and `seal` must outlive the shim. With a seal, every request is re-issued and sealed when it is
    /// handed over, every reply opened before anything in it is believed, and what the client wrote is restored.
    ClientShim(const ClientPolicy& policy, Counters& counters, ClientSeal* seal = nullptr);
    ~ClientShim();
    ClientShim(const ClientShim&) = delete;
    ClientShim& operator=(const ClientShim&) = delete;

    /// A datagram from a local client. `channel_open`: a request that cannot be corrected is refused without a channel
    /// (not_correctable), every other one waits as Ledger::waiting. `arrival` may lie before `now` (kernel stamp).
    [[nodiscard]] std::variant<ExchangeHandle, Drop>
    on_client_datagram(const ClientEndpoint& from, Bytes datagram, Instant arrival, Instant now, bool channel_open);

    /// The message to send for a waiting exchange on `channel` now: a request frame, or under raw framing the packet
    /// itself. Its forward hold ends at `now`. The bytes live until the next call. `fresh_stamp` is 64 random bits for
    /// a re-issued request. Drop: too_old, channel_limit, raw_busy, held_too_long, channel_lost, or what the seal
    /// says; the exchange has ended. A stale handle gives no_exchange and counts nothing, because its request was
    /// counted when it ended.
    [[nodiscard]] std::variant<Bytes, Drop> hand_over(ExchangeHandle exchange, ChannelNumber channel, Instant now,
                                                      std::uint64_t fresh_stamp = 0);

    /// What hand_over gave has been sealed and is written now: its forward hold ends here. On cold caches sealing takes
    /// longer than everything before it. A handle whose exchange is not open does nothing.
    void leave(ExchangeHandle exchange, Instant now);

    /// Takes back what hand_over gave, or a still waiting exchange: the carrier refused it. Counts it once as dropped
    /// for `reason` (and takes the forwarded count back), and ends the exchange. A stale handle does nothing.
    void refuse(ExchangeHandle exchange, DropReason reason);

    /// The oldest request that still waits for a channel; those older than max-age are dropped on the way.
    [[nodiscard]] std::optional<ExchangeHandle> next_waiting(Instant now);

    void open_channel(ChannelNumber channel, const ChannelSeed& seed, Instant now);
    void close_channel(ChannelNumber channel); // its open exchanges are abandoned; late replies find no exchange
    /// The number of exchanges outstanding on the channel (raw framing: 0 or 1 when the gateway keeps the rule).
    [[nodiscard]] std::size_t outstanding(ChannelNumber channel) const;

    /// A message from a channel. `now` is the instant of delivery to the client: the backward hold ends there.
    [[nodiscard]] std::variant<Deliver, Control, Drop> on_message(ChannelNumber channel, Bytes message, Instant arrival,
                                                                  Instant now);

    /// Frame v1 only; call after every event and at next_deadline. `keepalive`: a channel with nothing received for
    /// that long is asked with a ping.
    [[nodiscard]] Health health(ChannelNumber channel, Nanoseconds keepalive, Instant now);
    /// Lives until the next call. Empty within 100 ms of the last ping, and where there are none (raw, no such
    /// channel).
    [[nodiscard]] Bytes make_ping(ChannelNumber channel, Instant now);
    /// Raw framing: unanswered exchanges in a row on this channel (three = close it, design 5).
    [[nodiscard]] unsigned unanswered(ChannelNumber channel) const;

    /// Ends what is past its deadline: waiting requests (no_channel), open exchanges (lost).
    void expire(Instant now);
    /// When expire or health next has something to do, on the boot clock.
    [[nodiscard]] std::optional<Nanoseconds> next_deadline(Nanoseconds keepalive) const;
    [[nodiscard]] std::size_t waiting() const noexcept;
    [[nodiscard]] std::size_t open() const noexcept; // waiting ones included

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace ntp_shim
