// One SSH session on one TCP connection: a login first, then a channel. Inside transports/ only.
//
//   logging_in --granted--> open --close, end, failure--> closing --turn's end--> (on_closed, destroyed)
//        |                                                   ^
//        +------------------refused, deadline----------------+
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
#include "transports/ssh.hpp"
#include "transports/ssh_login.hpp"
#include "transports/stream_framing.hpp"

namespace transports {

class SshSession;

/// Holds a session until it is verified or refused.
class SshSessionOwner {
public:
    /// Hands the session to its handler, which it returns: from now on the handler hears of it.
    virtual ChannelHandler& on_verified(SshSession& session) = 0;
    /// At the end of a turn; the owner may destroy the session, and itself.
    virtual void on_refused(SshSession& session, const Failed& why) = 0;

protected:
    ~SshSessionOwner() = default;
};

class SshSession final : public Channel {
public:
    /// `begin` makes the link and the login for the function to call when the descriptor is ready.
    using Begin = std::function<SshBegun(std::function<void()> ready)>;
    struct Parts {
        std::string peer_address;
        SshOptions options;
        Nanoseconds login_time{};
        Admission::Place place;
        SshSupply supply; // `begin` takes its current context
    };
    SshSession(Loop& loop, Parts parts, const Begin& begin, SshSessionOwner& owner);
    ~SshSession() override;
    SshSession(const SshSession&) = delete;
    SshSession& operator=(const SshSession&) = delete;

    [[nodiscard]] SendResult send(std::span<const std::byte> message) override;
    void close(CloseReason why) override;
    [[nodiscard]] const PeerIdentity& peer() const noexcept override { return peer_; }
    [[nodiscard]] std::uint64_t number() const noexcept override { return number_; }
    [[nodiscard]] bool rekeying() const noexcept override;
    void recheck() override;
    [[nodiscard]] bool outdated() const noexcept override;

private:
    enum class State : std::uint8_t { logging_in, open, closing };

    void on_ready();
    void turn();
    void log_in();
    void granted();
    void deliver();
    void tell_rekeyed();
    void write_queued();
    void end(const Closed& why);
    void at_turn_end();
    void check_deadline();
    void arm_deadline();
    [[nodiscard]] PeerIdentity identity() const;

    SshSessionOwner* owner_;
    ChannelHandler* handler_ = nullptr; // once verified
    std::uint64_t number_;
    Parts parts_;
    std::shared_ptr<const SshContext> made_by_;
    StreamDecoder decoder_;
    PeerIdentity peer_;
    State state_ = State::logging_in;
    Closed closed_;
    std::vector<std::byte> queued_; // messages of this turn, sent together at its end
    std::uint64_t told_rekeys_ = 0;
    Nanoseconds login_deadline_;
    std::optional<Nanoseconds> rekey_deadline_; // of a renewal under way
    TurnEnd turn_end_;
    Timer deadline_;
    std::unique_ptr<SshLogin> login_; // outlives the link, which calls it
    std::unique_ptr<SshLink> link_;   // absent when it could not begin
};

} // namespace transports
