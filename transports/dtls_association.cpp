#include "transports/dtls_association.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transports/tls_inventory.hpp"

namespace transports {

DtlsAssociation::DtlsAssociation(Loop& loop, Parts parts, AssociationOwner& owner)
    : loop_{loop}, owner_{&owner}, number_{loop.take_number()}, options_{parts.options}, place_{std::move(parts.place)},
      supply_{std::move(parts.supply)}, engine_{std::move(parts.engine)}, heard_{!parts.first_sign},
      last_authentic_{read_boot()}, handshake_deadline_{last_authentic_ +
                                                        parts.first_sign.value_or(options_.handshake)},
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
        ask_responders();
        if (state_ == State::handshaking && engine_->state() == EngineState::established) {
            verified();
        }
        if (!message || state_ != State::open) {
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

void DtlsAssociation::ask_responders()
{
    if (inquiry_) {
        return; // what is left to ask is asked when its answers are there
    }
    auto questions = engine_->take_questions();
    if (questions.empty()) {
        return;
    }
    inquiry_ = supply_.desk().ask(loop_, std::move(questions), ocsp_patience(options_.handshake),
                                  [this](const std::vector<OcspAnswer>& answers) { answered(answers); });
}

void DtlsAssociation::answered(const std::vector<OcspAnswer>& answers)
{
    inquiry_.reset();
    engine_->answer(answers);
    if (state_ == State::open) {
        recheck();
        return;
    }
    if (state_ == State::handshaking && engine_->state() == EngineState::established) {
        verified();
    }
    ask_responders();
    transmit_output();
    report_discards();
    follow_engine();
}

void DtlsAssociation::recheck()
{
    if (state_ != State::open) {
        return;
    }
    if (const auto refusal = engine_->judge_again(*supply_.current())) {
        engine_->shutdown();
        end(refusal->reason, refusal->text);
        return;
    }
    ask_responders();
    await_end_of_status();
}

/// An answer that is over is asked for again, while the channel serves on.
void DtlsAssociation::await_end_of_status()
{
    const Nanoseconds until = engine_->status_until();
    if (state_ != State::open || until == Nanoseconds::zero()) {
        return;
    }
    if (!status_over_) {
        status_over_ = std::make_unique<Timer>(loop_, [this] {
            const bool over = engine_->status_until() <= read_wall();
            over ? recheck() : await_end_of_status();
        });
    }
    // Wall time, looked at every minute: the clock may be stepped.
    status_over_->start(std::clamp<Nanoseconds>(until - read_wall(), std::chrono::seconds{1}, std::chrono::minutes{1}));
}

bool DtlsAssociation::outdated() const noexcept
{
    return &engine_->context() != supply_.current().get() &&
           !same_own_certificate(engine_->context(), *supply_.current());
}

void DtlsAssociation::verified()
{
    if (&engine_->context() != supply_.current().get()) { // files were read again in the middle of its handshake
        if (const auto refusal = engine_->judge_again(*supply_.current())) {
            engine_->shutdown();
            end(refusal->reason, refusal->text);
            return;
        }
        if (engine_->awaits_answers()) {
            engine_->shutdown();
            end(CloseReason::credentials_replaced, "by such as raise questions about the peer");
            return;
        }
    }
    const std::string address = std::move(peer_.address);
    peer_ = engine_->peer();
    peer_.address = address;
    state_ = State::open;
    last_authentic_ = read_boot();
    place_.promote();
    transmit_output(); // our last flight leaves before the handler's first message
    handler_ = &owner_->on_verified(*this);
    await_end_of_status();
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
    inquiry_.reset();
    status_over_.reset();
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
