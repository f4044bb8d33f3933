// One TLS session on one TCP stream: a handshake first, then a channel. Inside transports/ only.
//
//   handshaking --verified--> open --close, end, failure--> closing --turn's end--> (on_closed, destroyed)
//        |                                                     ^
//        +------------------refused, deadline------------------+
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transports/admission.hpp"
#include "transports/channel.hpp"
#include "transports/stream_framing.hpp"
#include "transports/tcp.hpp"
#include "transports/tls.hpp"
#include "transports/tls_engine.hpp"
#include "transports/tls_supply.hpp"

namespace transports {

class TlsSession;

/// Holds a session until it is verified or refused.
class SessionOwner {
public:
    /// Hands the session to its handler, which it returns: from now on the handler hears of it.
    virtual ChannelHandler& on_verified(TlsSession& session) = 0;
    /// At the end of a turn; the owner may destroy the session, and itself.
    virtual void on_refused(TlsSession& session, const Failed& why) = 0;

protected:
    ~SessionOwner() = default;
};

class TlsSession final : public Channel, private TcpHandler {
public:
    struct Parts {
        int descriptor = -1; // taken
        std::string peer_address;
        std::unique_ptr<TlsEngine> engine;
        TlsSupply supply; // the engine's
        StreamOptions options;
        Admission::Place place;
    };
    TlsSession(Loop& loop, Parts parts, SessionOwner& owner);
    ~TlsSession() override;
    TlsSession(const TlsSession&) = delete;
    TlsSession& operator=(const TlsSession&) = delete;

    [[nodiscard]] SendResult send(std::span<const std::byte> message) override;
    void close(CloseReason why) override;
    [[nodiscard]] const PeerIdentity& peer() const noexcept override { return peer_; }
    [[nodiscard]] std::uint64_t number() const noexcept override { return number_; }
    void recheck() override;
    [[nodiscard]] bool outdated() const noexcept override;
    [[nodiscard]] bool export_keys(const std::string& label, std::span<const std::byte> context,
                                   std::span<std::byte> out) override
    {
        return engine_->export_keys(label, context, out);
    }

private:
    enum class State : std::uint8_t { handshaking, open, closing };

    void on_bytes(std::span<const std::byte> bytes, Instant arrival) override;
    void on_end_of_stream() override;
    void on_io_error(int error) override;
    void advance(Instant arrival);
    void ask_responders();
    void await_end_of_status();
    void answered(const std::vector<OcspAnswer>& answers);
    void verified();
    void discard_waiting();
    void deliver_records(Instant arrival);
    void deliver_messages(std::span<const std::byte> stream, Instant arrival);
    void follow_engine();
    void seal_queued();
    void write_output();
    void end(CloseReason why, const std::string& text);
    void at_turn_end();
    void check_deadline();

    Loop& loop_;
    SessionOwner* owner_;
    ChannelHandler* handler_ = nullptr; // once verified
    std::uint64_t number_;
    StreamOptions options_;
    Admission::Place place_;
    TlsSupply supply_;
    std::unique_ptr<TlsEngine> engine_;
    std::unique_ptr<OcspDesk::Inquiry> inquiry_; // about the peer's chain
    std::unique_ptr<Timer> status_over_;         // when answers of it end
    StreamDecoder decoder_;
    PeerIdentity peer_;
    State state_ = State::handshaking;
    bool ended_by_peer_ = false; // told to the handler
    Closed closed_;
    std::vector<std::byte> queued_; // messages of this turn, sealed together at its end
    Nanoseconds last_receive_;
    Nanoseconds handshake_deadline_;
    TurnEnd turn_end_;
    Timer deadline_;
    TcpStream stream_;
};

} // namespace transports
