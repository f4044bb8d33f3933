// One TLS session with no socket: wire bytes in, wire bytes out. Two of them in one test talk through two queues.
//
//   handshaking --verified--> established --close_notify--> ended --ours sent--> closed
//        |                        |                           |
//        +------------------------+------ alert, error -------+--> failed
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "transports/channel.hpp"
#include "transports/tls_context.hpp"
#include "transports/tls_ocsp.hpp"

namespace transports {

enum class EngineState : std::uint8_t {
    handshaking, // nothing of the application moves; ends by verification or failure. Responders may have to be asked.
    established, // the peer is verified and, under frame v1, chose our ALPN
    ended,       // the peer sent close_notify; we may still write
    closed,      // both directions ended in order
    failed,      // failure() says why; output() may still hold the alert to send
};

/// Never throws, never blocks; bounded by one record of input and the output the caller has not consumed yet.
class TlsEngine {
public:
    /// `reference`: client role, the name or address the server's certificate must carry (subjectAltName only).
    [[nodiscard]] static std::unique_ptr<TlsEngine> create(std::shared_ptr<const TlsContext> context,
                                                           const std::string& reference);
    ~TlsEngine();
    TlsEngine(const TlsEngine&) = delete;
    TlsEngine& operator=(const TlsEngine&) = delete;

    /// Client role: writes the first flight to output(). Server role: nothing.
    void start();
    /// Takes all of `wire`; afterwards call next_record until it returns nothing. Output may have grown.
    EngineState receive(std::span<const std::byte> wire);
    /// The next application record, at most 16 KiB, one record a call; lives until the next call on the engine.
    /// None is ever returned before established.
    [[nodiscard]] std::optional<std::span<const std::byte>> next_record();
    /// Seals `plain` (1..16384 octets) as one record. False unless established or ended.
    [[nodiscard]] bool send(std::span<const std::byte> plain);
    /// What responders must be asked before it goes on from handshaking; each question once. The answers may come at
    /// any time, and output may grow with them.
    [[nodiscard]] std::vector<OcspQuestion> take_questions();
    void answer(const std::vector<OcspAnswer>& answers);
    /// Judges the peer of an established session once more, by what `context` trusts. Nothing = admitted, but for
    /// questions to be taken and answered.
    [[nodiscard]] std::optional<Closed> judge_again(const TlsContext& context);
    /// Whether questions are open, taken or not.
    [[nodiscard]] bool awaits_answers() const;
    /// Wall clock: when to judge it again, since what responders said is over; 0 = never.
    [[nodiscard]] Nanoseconds status_until() const;
    /// Server role, before the first octet: what to send about our own certificate to who asks for it; may be null.
    void staple(OcspBytes response);

    /// RFC 5705 with a context value. False before established.
    [[nodiscard]] bool export_keys(const std::string& label, std::span<const std::byte> context,
                                   std::span<std::byte> out);
    /// Writes close_notify; sending ends here.
    void shutdown();

    [[nodiscard]] std::span<const std::byte> output() const noexcept; // wire bytes to send, valid until any other call
    void consume_output(std::size_t count) noexcept;

    [[nodiscard]] const TlsContext& context() const noexcept; // it was made of
    [[nodiscard]] EngineState state() const noexcept;
    [[nodiscard]] const Closed& failure() const noexcept;
    /// Complete once established; before that what was learnt. `address` is the carrier's to fill in.
    [[nodiscard]] const PeerIdentity& peer() const noexcept;
    [[nodiscard]] bool buffering() const noexcept; // a record is partly received

    struct State;

private:
    explicit TlsEngine(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace transports
