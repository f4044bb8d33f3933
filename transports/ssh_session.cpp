#include "transports/ssh_session.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace transports {

namespace {

constexpr std::size_t kMaxQueued = std::size_t{32} * 1024; // of one turn; what is more is refused as congested
constexpr std::size_t kKeepCapacity = 4096;                // an idle channel keeps no more than this

/// What the peer is told: nothing that helps it guess who would be let in.
std::string parting_word(CloseReason why)
{
    constexpr std::array kSecrets = {CloseReason::user_unknown, CloseReason::user_key_unknown,
                                     CloseReason::user_key_wrong_address, CloseReason::user_key_expired,
                                     CloseReason::user_signature_invalid};
    const bool secret = std::find(kSecrets.begin(), kSecrets.end(), why) != kSecrets.end();
    return secret ? "not_admitted" : std::string{name(why)};
}

} // namespace

SshSession::SshSession(Loop& loop, Parts parts, const Begin& begin, SshSessionOwner& owner)
    : owner_{&owner}, number_{loop.take_number()}, parts_{std::move(parts)}, made_by_{parts_.supply.current()},
      decoder_{parts_.options.min_message, parts_.options.max_message}, login_deadline_{read_boot() +
                                                                                        parts_.login_time},
      turn_end_{loop, [this] { at_turn_end(); }}, deadline_{loop, [this] { check_deadline(); }}
{
    deadline_.start_at(login_deadline_);
    SshBegun begun = begin([this] { on_ready(); });
    link_ = std::move(begun.link);
    login_ = std::move(begun.login);
    if (!link_) {
        end({CloseReason::io_error, begun.error});
        return;
    }
    link_->watch();
}

SshSession::~SshSession()
{
    if (link_ && state_ == State::open) {
        write_queued();
        link_->finish(parting_word(CloseReason::local_request));
    }
}

bool SshSession::rekeying() const noexcept
{
    return state_ == State::open && link_->rekeying();
}

void SshSession::recheck()
{
    if (state_ != State::open || parts_.supply.current() == made_by_) {
        return;
    }
    if (const auto why = login_->judge_by(*parts_.supply.current())) {
        end(*why);
    }
}

bool SshSession::outdated() const noexcept
{
    return parts_.supply.current() != made_by_ && !same_own_keys(*parts_.supply.current(), *made_by_);
}

SendResult SshSession::send(std::span<const std::byte> message)
{
    if (state_ != State::open) {
        return SendResult::closed;
    }
    const std::size_t size = queued_.size() + message.size() + 2;
    if (link_->rekeying() || size > kMaxQueued || !link_->has_room(size)) {
        return SendResult::congested; // what cannot leave now would leave late
    }
    append_framed(queued_, message);
    turn_end_.request();
    return SendResult::sent;
}

void SshSession::close(CloseReason why)
{
    end({why, {}});
}

void SshSession::end(const Closed& why)
{
    if (state_ == State::closing) {
        return;
    }
    closed_ = why;
    if (state_ == State::open) {
        write_queued();
    }
    state_ = State::closing;
    deadline_.stop();
    turn_end_.request();
}

void SshSession::on_ready()
{
    if (state_ == State::closing) {
        return;
    }
    turn();
    if (state_ != State::closing) {
        link_->watch();
        turn_end_.request(); // keys are renewed when nobody is in the middle of anything
    }
}

void SshSession::turn()
{
    // Before the library reads: a renewal that the peer begins would hold back what was stamped already.
    write_queued();
    auto end_of_link = link_->turn();
    if (state_ == State::logging_in) {
        // The octets that let a peer in may bring its questions, and the word that there will be no more, as well.
        if (!end_of_link || end_of_link->reason == CloseReason::peer_closed) {
            log_in();
        }
        if (end_of_link && state_ == State::logging_in) {
            end(login_->explain(*end_of_link));
        }
    }
    if (state_ == State::open) {
        tell_rekeyed();
        deliver();
        if (end_of_link) {
            const auto* refused = login_->refusal();
            end(refused != nullptr ? *refused
                : end_of_link->reason == CloseReason::refused_by_peer
                    ? Closed{CloseReason::peer_closed, end_of_link->text} // a disconnect of a peer that was let in
                    : *end_of_link);
        } else if (const auto* refused = login_->refusal()) {
            end(*refused);
        }
    }
}

void SshSession::log_in()
{
    switch (login_->advance(*link_)) {
    case SshLogin::Progress::waiting:
        return;
    case SshLogin::Progress::granted:
        granted();
        return;
    case SshLogin::Progress::refused:
        end(login_->explain({CloseReason::protocol_error, {}}));
        return;
    }
}

PeerIdentity SshSession::identity() const
{
    PeerIdentity known = login_ ? login_->peer() : PeerIdentity{};
    known.address = parts_.peer_address;
    return known;
}

void SshSession::granted()
{
    peer_ = identity();
    if (parts_.supply.current() != made_by_) { // replaced in the middle of the login
        if (const auto why = login_->judge_by(*parts_.supply.current())) {
            end(*why);
            return;
        }
    }
    state_ = State::open;
    parts_.place.promote();
    link_->open_data();
    arm_deadline();
    handler_ = &owner_->on_verified(*this);
}

void SshSession::deliver()
{
    auto stream = link_->received();
    while (state_ == State::open) {
        const auto message = decoder_.next(stream);
        if (!message) {
            break;
        }
        handler_->on_message(*this, *message, link_->arrival());
    }
    link_->consume_received();
    if (state_ == State::open && decoder_.broken()) {
        end({CloseReason::bad_framing, "a message length outside what the framing allows"});
    }
}

void SshSession::tell_rekeyed()
{
    const std::uint64_t done = link_->rekeys();
    if (done == told_rekeys_) {
        return;
    }
    told_rekeys_ = done;
    if (!link_->rekeying()) {
        rekey_deadline_.reset();
        arm_deadline();
        handler_->on_rekeyed(*this);
    }
}

void SshSession::write_queued()
{
    if (queued_.empty() || state_ != State::open) {
        return;
    }
    // The library seals and writes in one: what sealing takes is neither hold nor, on a cold cache, the same both ways.
    // So the hold ends when the generator of its padding, the dearest part to wake, has been woken.
    std::array<std::byte, 32> padding; // NOLINT(cppcoreguidelines-pro-type-member-init): filled, and not used
    link_->wake_random(padding);
    handler_->on_leaving(*this);
    // A failure is found by the next turn, which knows why.
    (void)link_->write(queued_);
    queued_.clear();
    if (queued_.capacity() > kKeepCapacity) {
        queued_ = {};
    }
}

void SshSession::at_turn_end()
{
    if (state_ == State::open) {
        if (!queued_.empty()) {
            turn(); // writes, and hears at once whether more may be written
        }
        if (state_ == State::open) {
            link_->begin_rekey_if_due();
            if (link_->rekeying() && !rekey_deadline_) {
                rekey_deadline_ = read_boot() + parts_.options.handshake;
            }
            arm_deadline();
            link_->watch();
        }
    }
    if (state_ != State::closing) {
        return;
    }
    // The last act: whoever hears this may destroy the session.
    parts_.place = {};
    if (link_) {
        link_->finish(parting_word(closed_.reason));
    }
    if (handler_ != nullptr) {
        const Closed closed = closed_;
        handler_->on_closed(*this, closed);
    } else {
        owner_->on_refused(*this, Failed{closed_.reason, closed_.text, identity()});
    }
}

void SshSession::arm_deadline()
{
    Nanoseconds due = link_->last_receive() + parts_.options.idle;
    due = std::min(due, rekey_deadline_.value_or(link_->rekey_due_at()));
    deadline_.start_at(due);
}

void SshSession::check_deadline()
{
    const Nanoseconds now = read_boot();
    if (state_ == State::logging_in) {
        if (now >= login_deadline_) {
            end({CloseReason::handshake_timeout, {}});
        } else {
            deadline_.start_at(login_deadline_);
        }
        return;
    }
    if (now - link_->last_receive() >= parts_.options.idle) {
        end({CloseReason::idle_timeout, {}});
    } else if (rekey_deadline_ && now >= *rekey_deadline_) {
        end({CloseReason::rekey_timeout, {}});
    } else {
        turn_end_.request();
    }
}

} // namespace transports
