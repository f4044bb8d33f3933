#include "transports/dtls_association.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace transports {

DtlsAssociation::DtlsAssociation(Loop& loop, Parts parts, AssociationOwner& owner)
    : owner_{&owner}, number_{loop.take_number()}, options_{parts.options}, place_{std::move(parts.place)},
      engine_{std::move(parts.engine)}, heard_{!parts.first_sign}, last_authentic_{read_boot()},
      handshake_deadline_{last_authentic_ + parts.first_sign.value_or(options_.handshake)},
      turn_end_{loop, [this] { at_turn_end(); }}, deadline_{loop, [this] { check_deadline(); }}
{
    peer_.address = std::move(parts.peer_address);
}

DtlsAssociation::~DtlsAssociation()
{
    if (state_ == State::open) {
        engine_->shutdown();
        transmit_output();
        path_->flush();
    }
}

void DtlsAssociation::start(std::unique_ptr<DatagramPath> path)
{
    path_ = std::move(path);
    engine_->start(read_boot());
    transmit_output();
    follow_engine();
    arm();
}

void DtlsAssociation::receive(std::span<const std::byte> datagram, Instant arrival)
{
    if (state_ == State::closing) {
        return;
    }
    if (!std::exchange(heard_, true)) {
        handshake_deadline_ = arrival.boot + options_.handshake;
    }
    engine_->receive(datagram, arrival.boot);
    while (state_ != State::closing) {
        const auto message = engine_->next_message();
        if (state_ == State::handshaking && engine_->state() == EngineState::established) {
            verified();
        }
        if (!message) {
            break;
        }
        last_authentic_ = arrival.boot;
        handler_->on_message(*this, *message, arrival);
    }
    transmit_output();
    report_discards();
    follow_engine();
    if (state_ == State::handshaking) {
        arm();
    }
}

void DtlsAssociation::verified()
{
    const std::string address = std::move(peer_.address);
    peer_ = engine_->peer();
    peer_.address = address;
    state_ = State::open;
    last_authentic_ = read_boot();
    place_.promote();
    transmit_output(); // our last flight leaves before the handler's first message
    handler_ = &owner_->on_verified(*this);
    arm();
}

/// Those of the handshake are told as soon as there is somebody to tell.
void DtlsAssociation::report_discards()
{
    if (handler_ == nullptr) {
        return;
    }
    const DiscardCounters now = engine_->discards();
    const DiscardCounters before = std::exchange(reported_, now);
    const std::uint64_t unverified = now.unverified_replays - before.unverified_replays;
    for (std::size_t i = 0; i < kDiscards; ++i) {
        const auto why = static_cast<Discard>(i);
        const std::uint64_t all = now.by_reason[i] - before.by_reason[i];
        const std::uint64_t doubtful = why == Discard::replay_detected ? unverified : 0;
        if (all > doubtful) {
            handler_->on_discarded({why, true, all - doubtful, this});
        }
        if (doubtful != 0) {
            handler_->on_discarded({why, false, doubtful, this});
        }
    }
}

SendResult DtlsAssociation::send(std::span<const std::byte> message)
{
    if (state_ != State::open) {
        return SendResult::closed;
    }
    if (message.size() > engine_->max_message()) {
        return SendResult::oversize;
    }
    if (!engine_->send(message)) {
        turn_end_.request(); // the engine has failed; the channel ends there
        return SendResult::closed;
    }
    turn_end_.request(); // before the socket's own: what leaves is told before it is gone
    transmit_output();
    return SendResult::sent;
}

void DtlsAssociation::close(CloseReason why)
{
    if (state_ == State::open) {
        engine_->shutdown();
    }
    end(why, {});
}

void DtlsAssociation::supersede()
{
    end(CloseReason::superseded, {});
}

void DtlsAssociation::refused(int error)
{
    // Anybody can send an ICMP message. That a datagram was too long is none of its business, since the MTU is set by
    // hand; a network without a way is for liveness to judge once the peer has been heard.
    if (error == EMSGSIZE || (heard_ && error != ECONNREFUSED)) {
        return;
    }
    const bool never_there = state_ == State::handshaking && !heard_;
    end(never_there ? CloseReason::unreachable : CloseReason::connection_lost, std::strerror(error));
}

void DtlsAssociation::end(CloseReason why, const std::string& text)
{
    if (state_ == State::closing) {
        return;
    }
    closed_ = {why, text};
    state_ = State::closing;
    transmit_output();
    deadline_.stop();
    turn_end_.request();
}

void DtlsAssociation::at_turn_end()
{
    if (state_ == State::open) {
        handler_->on_leaving(*this);
        path_->flush();
        follow_engine();
    }
    if (state_ != State::closing) {
        return;
    }
    // The last act: whoever hears this may destroy the association.
    path_->flush();
    place_ = {};
    if (handler_ != nullptr) {
        const Closed closed = closed_;
        handler_->on_closed(*this, closed);
    } else {
        Failed failed{closed_.reason, closed_.text, engine_->peer()};
        failed.peer.address = peer_.address;
        owner_->on_refused(*this, failed);
    }
}

/// Does what the engine's state asks for, once.
void DtlsAssociation::follow_engine()
{
    switch (engine_->state()) {
    case EngineState::handshaking:
    case EngineState::established:
        return;
    case EngineState::ended:
    case EngineState::closed:
        end(CloseReason::peer_closed, {});
        return;
    case EngineState::failed:
        end(engine_->failure().reason, engine_->failure().text);
        return;
    }
}

void DtlsAssociation::transmit_output()
{
    while (const auto datagram = engine_->next_output()) {
        path_->transmit(*datagram);
    }
}

void DtlsAssociation::check_deadline()
{
    const Nanoseconds now = read_boot();
    engine_->on_deadline(now);
    transmit_output();
    follow_engine();
    if (state_ == State::handshaking && now >= handshake_deadline_) {
        end(heard_ ? CloseReason::handshake_timeout : CloseReason::connect_timeout, {});
    } else if (state_ == State::open && now - last_authentic_ >= options_.idle) {
        close(CloseReason::idle_timeout);
    }
    arm();
}

void DtlsAssociation::arm()
{
    if (state_ == State::closing) {
        return;
    }
    const Nanoseconds ours = state_ == State::handshaking ? handshake_deadline_ : last_authentic_ + options_.idle;
    deadline_.start_at(std::min(ours, engine_->deadline().value_or(ours)));
}

} // namespace transports
