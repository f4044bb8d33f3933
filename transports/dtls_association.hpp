// One DTLS association with one peer: a handshake first, then a channel. Inside transports/ only.
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
#include "transports/dtls.hpp"
#include "transports/dtls_engine.hpp"
#include "transports/tls_supply.hpp"
#include "transports/udp.hpp"

namespace transports {

class DtlsAssociation;

/// Where datagrams to one peer go.
class DatagramPath {
public:
    DatagramPath() = default;
    virtual ~DatagramPath() = default;
    DatagramPath(const DatagramPath&) = delete;
    DatagramPath& operator=(const DatagramPath&) = delete;
    virtual void transmit(std::span<const std::byte> datagram) = 0; // at the end of the turn
    virtual void flush() = 0;                                       // what was transmitted leaves now
};

/// Holds an association until it is verified or refused.
class AssociationOwner {
public:
    /// Hands the association to its handler, which it returns: from now on the handler hears of it.
    virtual ChannelHandler& on_verified(DtlsAssociation& association) = 0;
    /// At the end of a turn; the owner may destroy the association, and itself.
    virtual void on_refused(DtlsAssociation& association, const Failed& why) = 0;

protected:
    ~AssociationOwner() = default;
};

class DtlsAssociation final : public Channel {
public:
    struct Parts {
        std::string peer_address;
        std::unique_ptr<DtlsEngine> engine;
        TlsSupply supply; // the engine's
        DatagramOptions options;
        std::optional<Nanoseconds> first_sign; // client role: how long the peer may be silent from the start
        Admission::Place place;
    };
    DtlsAssociation(Loop& loop, Parts parts, AssociationOwner& owner);
    ~DtlsAssociation() override;
    DtlsAssociation(const DtlsAssociation&) = delete;
    DtlsAssociation& operator=(const DtlsAssociation&) = delete;

    /// Begins the handshake.
    void start(std::unique_ptr<DatagramPath> path);
    void receive(std::span<const std::byte> datagram, Instant arrival);
    /// The network says that nobody is there.
    void refused(int error);
    /// The peer has begun anew: ends without a word to it.
    void supersede();
    [[nodiscard]] bool is_open() const noexcept { return state_ == State::open; }

    [[nodiscard]] SendResult send(std::span<const std::byte> message) override;
    void close(CloseReason why) override;
    [[nodiscard]] const PeerIdentity& peer() const noexcept override { return peer_; }
    [[nodiscard]] std::uint64_t number() const noexcept override { return number_; }
    void recheck() override;
    [[nodiscard]] bool outdated() const noexcept override;

private:
    enum class State : std::uint8_t { handshaking, open, closing };

    void follow_engine();
    void ask_responders();
    void await_end_of_status();
    void answered(const std::vector<OcspAnswer>& answers);
    void verified();
    void transmit_output();
    void report_discards();
    void end(CloseReason why, const std::string& text);
    void at_turn_end();
    void check_deadline();
    void arm();

    Loop& loop_;
    AssociationOwner* owner_;
    ChannelHandler* handler_ = nullptr; // once verified
    std::uint64_t number_;
    DatagramOptions options_;
    Admission::Place place_;
    TlsSupply supply_;
    std::unique_ptr<DtlsEngine> engine_;
    std::unique_ptr<OcspDesk::Inquiry> inquiry_; // about the peer's chain
    std::unique_ptr<Timer> status_over_;         // when answers of it end
    PeerIdentity peer_;
    State state_ = State::handshaking;
    bool heard_; // the peer has given a sign
    Closed closed_;
    DiscardCounters reported_;
    Nanoseconds last_authentic_;
    Nanoseconds handshake_deadline_;
    TurnEnd turn_end_;
    Timer deadline_;
    std::unique_ptr<DatagramPath> path_;
};

} // namespace transports
