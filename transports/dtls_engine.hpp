// One DTLS 1.2 association with no socket and no clock: datagrams and the boot time in, datagrams out. Two of them in
// one test talk through two queues.
//
//   (server: listening --cookie--)> handshaking --verified--> established --close_notify--> ended
//                                        |                        |
//                                        +---- alert, error ------+--> failed
//
// Records are taken apart here and judged one by one: what was sent twice, cut short or forged is counted and goes no
// further (RFC 6347 section 4.1.2.7), and nothing of the application moves before the peer is verified.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "transports/channel.hpp"
#include "transports/dtls_cookies.hpp"
#include "transports/dtls_wire.hpp"
#include "transports/tls_context.hpp"
#include "transports/tls_engine.hpp"

namespace transports {

struct DiscardCounters {
    std::array<std::uint64_t, kDiscards> by_reason{};
    std::uint64_t unverified_replays{}; // of replay_detected: too old to say
};

/// Never throws, never blocks; what it keeps is bounded by one flight of the handshake.
class DtlsEngine {
public:
    /// `reference`: client role, the name or address the server's certificate must carry.
    [[nodiscard]] static std::unique_ptr<DtlsEngine> create(std::shared_ptr<const TlsContext> context,
                                                            const std::string& reference,
                                                            const DatagramWire::Setting& setting);
    ~DtlsEngine();
    DtlsEngine(const DtlsEngine&) = delete;
    DtlsEngine& operator=(const DtlsEngine&) = delete;

    /// Server role: looks at a ClientHello that came from the owner of `cookies`. False: it was answered with a
    /// HelloVerifyRequest or dropped, and the engine is as if it had never been asked. True: it bears one of the
    /// cookies; go on with start(), or ask again with another datagram.
    [[nodiscard]] bool listen(std::span<const std::byte> datagram, const DtlsCookies& cookies);
    /// Client role: writes the first flight. Server role: answers the ClientHello that listen() accepted.
    void start(Nanoseconds boot_now);

    /// Takes `datagram`, which lives until next_message has returned nothing; call that now.
    void receive(std::span<const std::byte> datagram, Nanoseconds boot_now);
    /// The next application record; lives until the next call of this or of receive. None is ever returned before
    /// established.
    [[nodiscard]] std::optional<std::span<const std::byte>> next_message();
    /// Seals `plain` as one record in one datagram. False unless established, or when it is longer than max_message.
    [[nodiscard]] bool send(std::span<const std::byte> plain);
    [[nodiscard]] std::size_t max_message() const noexcept; // once established
    /// Writes close_notify; sending ends here.
    void shutdown();

    /// As TlsEngine's. What comes of the application while answers are awaited is discarded as wrong_epoch.
    [[nodiscard]] std::vector<OcspQuestion> take_questions();
    void answer(const std::vector<OcspAnswer>& answers);
    [[nodiscard]] std::optional<Closed> judge_again(const TlsContext& context);
    [[nodiscard]] bool awaits_answers() const;
    [[nodiscard]] Nanoseconds status_until() const;
    void staple(OcspBytes response);
    [[nodiscard]] const TlsContext& context() const noexcept;

    /// When on_deadline wants to be called, on the boot clock; nothing = not at all.
    [[nodiscard]] std::optional<Nanoseconds> deadline() const noexcept;
    /// Sends the last flight again if it is time. After a failure state() says so.
    void on_deadline(Nanoseconds boot_now);

    /// The next datagram to send; valid until any other call.
    [[nodiscard]] std::optional<std::span<const std::byte>> next_output();

    [[nodiscard]] EngineState state() const noexcept;
    [[nodiscard]] const Closed& failure() const noexcept;
    [[nodiscard]] const PeerIdentity& peer() const noexcept; // as TlsEngine's
    [[nodiscard]] const DiscardCounters& discards() const noexcept;

    struct State;

private:
    explicit DtlsEngine(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace transports
