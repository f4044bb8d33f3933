#include "transports/tls_session.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "transports/tls_inventory.hpp"

namespace transports {

namespace {

constexpr std::size_t kMaxRecord = 16384;
constexpr std::size_t kMaxQueued = std::size_t{64} * 1024; // of one turn; what is more is refused as congested
constexpr std::size_t kKeepCapacity = 4096;                // an idle channel keeps no more than this

} // namespace

TlsSession::TlsSession(Loop& loop, Parts parts, SessionOwner& owner)
    : loop_{loop}, owner_{&owner}, number_{loop.take_number()}, options_{parts.options}, place_{std::move(parts.place)},
      supply_{std::move(parts.supply)}, engine_{std::move(parts.engine)}, decoder_{options_.min_message,
                                                                                   options_.max_message},
      last_receive_{read_boot()}, handshake_deadline_{last_receive_ + options_.handshake}, turn_end_{loop,
                                                                                                     [this] {
                                                                                                         at_turn_end();
                                                                                                     }},
      deadline_{loop, [this] { check_deadline(); }}, stream_{loop, parts.descriptor, *this}
{
    peer_.address = std::move(parts.peer_address);
    deadline_.start_at(handshake_deadline_);
    engine_->start();
    write_output();
}

TlsSession::~TlsSession()
{
    if (state_ == State::open) {
        seal_queued();
        engine_->shutdown();
        write_output();
        stream_.finish();
    }
}

SendResult TlsSession::send(std::span<const std::byte> message)
{
    if (state_ != State::open) {
        return SendResult::closed;
    }
    if (stream_.unsent() != 0 || queued_.size() + message.size() > kMaxQueued) {
        return SendResult::congested; // what cannot leave now would leave late
    }
    if (options_.framing == StreamFraming::records) {
        if (!engine_->send(message)) {
            return SendResult::closed;
        }
    } else {
        append_framed(queued_, message);
    }
    turn_end_.request();
    return SendResult::sent;
}

void TlsSession::close(CloseReason why)
{
    end(why, {});
}

void TlsSession::end(CloseReason why, const std::string& text)
{
    if (state_ == State::closing) {
        return;
    }
    closed_ = {why, text};
    inquiry_.reset();
    status_over_.reset();
    if (state_ == State::open) {
        seal_queued();
        engine_->shutdown();
    }
    state_ = State::closing;
    write_output();
    stream_.finish();
    deadline_.stop();
    turn_end_.request();
}

void TlsSession::at_turn_end()
{
    if (state_ == State::open) {
        seal_queued();
        handler_->on_leaving(*this);
        write_output();
        follow_engine();
    }
    if (state_ != State::closing) {
        return;
    }
    // The last act: whoever hears this may destroy the session.
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

void TlsSession::on_bytes(std::span<const std::byte> bytes, Instant arrival)
{
    if (state_ == State::closing) {
        return;
    }
    last_receive_ = arrival.boot;
    (void)engine_->receive(bytes);
    advance(arrival);
}

void TlsSession::advance(Instant arrival)
{
    ask_responders();
    const EngineState now = engine_->state();
    if (state_ == State::handshaking && (now == EngineState::established || now == EngineState::ended)) {
        verified();
    }
    if (state_ == State::open) {
        deliver_records(arrival);
    }
    write_output();
    follow_engine();
}

void TlsSession::ask_responders()
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

void TlsSession::answered(const std::vector<OcspAnswer>& answers)
{
    inquiry_.reset();
    engine_->answer(answers);
    if (state_ == State::open) {
        recheck();
        return;
    }
    if (state_ == State::handshaking && engine_->state() == EngineState::established) {
        verified();
        discard_waiting();
    }
    advance(read_instant());
}

/// What came of the application while answers were awaited: nobody can say any more when each of it did.
void TlsSession::discard_waiting()
{
    while (state_ == State::open) {
        const auto record = engine_->next_record();
        if (!record) {
            return;
        }
        auto stream = *record;
        while (options_.framing == StreamFraming::length_prefixed && decoder_.next(stream)) {
        }
        if (decoder_.broken()) {
            end(CloseReason::bad_framing, "a message length outside what the framing allows");
        }
    }
}

void TlsSession::recheck()
{
    if (state_ != State::open) {
        return;
    }
    if (const auto refusal = engine_->judge_again(*supply_.current())) {
        end(refusal->reason, refusal->text);
        return;
    }
    ask_responders();
    await_end_of_status();
}

/// An answer that is over is asked for again, while the channel serves on.
void TlsSession::await_end_of_status()
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

bool TlsSession::outdated() const noexcept
{
    return &engine_->context() != supply_.current().get() &&
           !same_own_certificate(engine_->context(), *supply_.current());
}

void TlsSession::verified()
{
    if (&engine_->context() != supply_.current().get()) { // files were read again in the middle of its handshake
        if (const auto refusal = engine_->judge_again(*supply_.current())) {
            end(refusal->reason, refusal->text);
            return;
        }
        if (engine_->awaits_answers()) {
            end(CloseReason::credentials_replaced, "by such as raise questions about the peer");
            return;
        }
    }
    const std::string address = std::move(peer_.address);
    peer_ = engine_->peer();
    peer_.address = address;
    state_ = State::open;
    place_.promote();
    deadline_.start_at(last_receive_ + options_.idle);
    write_output(); // our last flight leaves before the handler's first message
    handler_ = &owner_->on_verified(*this);
    await_end_of_status();
}

void TlsSession::deliver_records(Instant arrival)
{
    while (state_ == State::open) {
        const auto record = engine_->next_record();
        if (!record) {
            return;
        }
        if (options_.framing == StreamFraming::records) {
            handler_->on_message(*this, *record, arrival);
        } else {
            deliver_messages(*record, arrival);
        }
    }
}

void TlsSession::deliver_messages(std::span<const std::byte> stream, Instant arrival)
{
    while (state_ == State::open) {
        const auto message = decoder_.next(stream);
        if (!message) {
            break;
        }
        handler_->on_message(*this, *message, arrival);
    }
    if (decoder_.broken()) {
        end(CloseReason::bad_framing, "a message length outside what the framing allows");
    }
}

/// Does what the engine's state asks for, once.
void TlsSession::follow_engine()
{
    switch (engine_->state()) {
    case EngineState::handshaking:
    case EngineState::established:
        return;
    case EngineState::ended:
        if (options_.framing == StreamFraming::length_prefixed) {
            end(CloseReason::peer_closed, {});
        } else if (state_ == State::open && !std::exchange(ended_by_peer_, true)) {
            handler_->on_end(*this);
        }
        return;
    case EngineState::closed:
        end(CloseReason::peer_closed, {});
        return;
    case EngineState::failed:
        end(engine_->failure().reason, engine_->failure().text);
        return;
    }
}

void TlsSession::on_end_of_stream()
{
    if (ended_by_peer_) {
        return; // said in order by close_notify; the peer still reads
    }
    end(CloseReason::connection_lost, "the stream ended without close_notify");
}

void TlsSession::on_io_error(int error)
{
    end(CloseReason::connection_lost, std::strerror(error));
}

void TlsSession::seal_queued()
{
    std::span<const std::byte> rest{queued_};
    while (!rest.empty()) {
        const auto record = rest.first(std::min(rest.size(), kMaxRecord));
        if (!engine_->send(record)) {
            break; // the engine has failed; follow_engine says so
        }
        rest = rest.subspan(record.size());
    }
    queued_.clear();
    if (queued_.capacity() > kKeepCapacity) {
        queued_ = {};
    }
}

void TlsSession::write_output()
{
    const auto output = engine_->output();
    if (!output.empty()) {
        stream_.write(output);
        engine_->consume_output(output.size());
        if (state_ == State::handshaking) {
            stream_.acknowledge_at_once();
        }
    }
}

void TlsSession::check_deadline()
{
    const Nanoseconds now = read_boot();
    if (state_ == State::handshaking) {
        if (now >= handshake_deadline_) {
            end(CloseReason::handshake_timeout, {});
        } else {
            deadline_.start_at(handshake_deadline_);
        }
        return;
    }
    if (now - last_receive_ >= options_.idle) {
        end(CloseReason::idle_timeout, {});
    } else {
        deadline_.start_at(last_receive_ + options_.idle);
    }
}

} // namespace transports
