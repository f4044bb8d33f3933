#include "transports/tls_engine.hpp"

#include <algorithm>
#include <utility>

#include <openssl/ssl.h>

#include "transports/tls_evidence.hpp"
#include "transports/tls_outcome.hpp"
#include "transports/tls_state.hpp"
#include "transports/tls_wire.hpp"

namespace transports {

namespace {

constexpr std::size_t kMaxRecord = SSL3_RT_MAX_PLAIN_LENGTH;
// What a caller may leave unread before it feeds more: four records. Everything else would be a queue.
constexpr std::size_t kMaxUnread = std::size_t{4} * SSL3_RT_MAX_PACKET_SIZE;

} // namespace

struct TlsEngine::State {
    State(std::shared_ptr<const TlsContext> made_by, const std::string& reference)
        : context{std::move(made_by)}, notes{context->state(), make_reference(reference)}
    {}

    void shake_hands();
    void conclude_handshake();
    void settle();
    void fail(Closed why);
    void fail_from_library(int result);
    void end();
    [[nodiscard]] bool misbehaves();
    [[nodiscard]] bool may_send() const noexcept;

    std::shared_ptr<const TlsContext> context;
    EngineNotes notes;
    Wire wire;
    Owned<ssl_st> session; // after the wire and the notes: it points at both
    EngineState state = EngineState::handshaking;
    bool concluded = false; // the handshake itself is over
    Closed failure;
    std::unique_ptr<std::byte[]> record;
};

void TlsEngine::State::fail(Closed why)
{
    state = EngineState::failed;
    failure = std::move(why);
    wire.drop_input();
    record.reset();
}

void TlsEngine::State::fail_from_library(int result)
{
    fail(why_failed(*session, notes, result, state == EngineState::handshaking));
}

/// The peer's close_notify was read; what follows it is not looked at (RFC 8446 section 6.1).
void TlsEngine::State::end()
{
    const bool ours_sent = (SSL_get_shutdown(session.get()) & SSL_SENT_SHUTDOWN) != 0;
    state = ours_sent ? EngineState::closed : EngineState::ended;
    wire.drop_input();
    record.reset();
}

void TlsEngine::State::conclude_handshake()
{
    if (std::exchange(concluded, true)) {
        return; // octets that came while answers are awaited
    }
    if (auto refusal = conclude(*session, notes)) {
        fail(std::move(*refusal));
    } else if (notes.asked.empty()) {
        state = EngineState::established;
    } else {
        settle(); // answers that overtook the end of the handshake have not been looked at
    }
}

/// The last answer may have come after the handshake; there is no alert any more for what it says.
void TlsEngine::State::settle()
{
    if (transports::awaits_answers(notes)) {
        return;
    }
    if (auto refusal = transports::judge_again(*session, notes, context->state())) {
        forget_library_errors();
        (void)SSL_shutdown(session.get()); // close_notify; whether it could be written, the peer finds out
        fail(std::move(*refusal));
    } else if (!transports::awaits_answers(notes)) { // an answer may be over by now
        state = EngineState::established;
    }
}

void TlsEngine::State::shake_hands()
{
    forget_library_errors();
    const int result = SSL_do_handshake(session.get());
    if (result == 1) {
        conclude_handshake();
        return;
    }
    const int error = SSL_get_error(session.get(), result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_RETRY_VERIFY) {
        fail_from_library(result);
    }
}

bool TlsEngine::State::misbehaves()
{
    if (auto why = misbehaviour(notes)) {
        fail(std::move(*why));
    }
    return state == EngineState::failed;
}

bool TlsEngine::State::may_send() const noexcept
{
    return (state == EngineState::established || state == EngineState::ended) &&
           (SSL_get_shutdown(session.get()) & SSL_SENT_SHUTDOWN) == 0;
}

TlsEngine::TlsEngine(std::unique_ptr<State> state) : state_{std::move(state)}
{}

TlsEngine::~TlsEngine() = default;

std::unique_ptr<TlsEngine> TlsEngine::create(std::shared_ptr<const TlsContext> context, const std::string& reference)
{
    auto made = std::make_unique<State>(std::move(context), reference);
    State& state = *made;
    forget_library_errors();
    const bool client = state.context->settings().role == TlsRole::client;
    state.session.reset(SSL_new(state.context->state().library.get()));
    Owned<bio_st> bio = state.wire.make_bio();
    bool ready = state.session && bio;
    if (ready) {
        bio_st* const both = bio.release(); // one for either direction takes one reference
        SSL_set_bio(state.session.get(), both, both);
        attach(*state.session, state.notes);
        client ? SSL_set_connect_state(state.session.get()) : SSL_set_accept_state(state.session.get());
        // RFC 6066 section 3: a host name is sent, an address never.
        std::string& host = state.notes.reference.host;
        ready =
            !client || host.empty() ||
            SSL_ctrl(state.session.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host.data()) == 1;
    }
    if (!ready) {
        state.fail({CloseReason::io_error, take_library_errors().text});
    }
    return std::unique_ptr<TlsEngine>{new TlsEngine{std::move(made)}};
}

void TlsEngine::start()
{
    if (state_->state == EngineState::handshaking && state_->context->settings().role == TlsRole::client) {
        state_->shake_hands();
    }
}

EngineState TlsEngine::receive(std::span<const std::byte> wire)
{
    State& state = *state_;
    if (state.state != EngineState::handshaking && state.state != EngineState::established) {
        return state.state;
    }
    if (state.wire.unread() > kMaxUnread) {
        state.fail({CloseReason::protocol_error, "more was fed than was read"});
        return state.state;
    }
    state.wire.feed(wire);
    if (state.state == EngineState::handshaking) {
        state.shake_hands();
    }
    return state.state;
}

std::optional<std::span<const std::byte>> TlsEngine::next_record()
{
    State& state = *state_;
    if (state.state != EngineState::established) {
        return std::nullopt;
    }
    if (state.record == nullptr) {
        state.record = std::make_unique_for_overwrite<std::byte[]>(kMaxRecord);
    }
    forget_library_errors();
    std::size_t size = 0;
    const int result = SSL_read_ex(state.session.get(), state.record.get(), kMaxRecord, &size);
    if (state.misbehaves()) {
        return std::nullopt;
    }
    if (result == 1) {
        state.notes.idle_messages = 0;
        return std::span<const std::byte>{state.record.get(), size};
    }
    // Idle sessions outnumber busy ones: the buffer goes as soon as there is nothing to put into it.
    state.record.reset();
    const int error = SSL_get_error(state.session.get(), result);
    if (error == SSL_ERROR_ZERO_RETURN) {
        state.end();
    } else if (error != SSL_ERROR_WANT_READ) {
        state.fail_from_library(result);
    }
    return std::nullopt;
}

bool TlsEngine::send(std::span<const std::byte> plain)
{
    State& state = *state_;
    if (!state.may_send() || plain.empty() || plain.size() > kMaxRecord) {
        return false;
    }
    forget_library_errors();
    std::size_t written = 0;
    const int result = SSL_write_ex(state.session.get(), plain.data(), plain.size(), &written);
    if (result != 1) {
        state.fail_from_library(result);
    }
    return result == 1;
}

std::vector<OcspQuestion> TlsEngine::take_questions()
{
    return std::exchange(state_->notes.questions, {});
}

void TlsEngine::answer(const std::vector<OcspAnswer>& answers)
{
    State& state = *state_;
    take_answers(state.notes, answers);
    if (state.state != EngineState::handshaking) {
        return;
    }
    if (state.concluded) {
        state.settle();
    } else if (state.context->settings().role == TlsRole::client) {
        state.shake_hands();
    }
}

std::optional<Closed> TlsEngine::judge_again(const TlsContext& context)
{
    return transports::judge_again(*state_->session, state_->notes, context.state());
}

bool TlsEngine::awaits_answers() const
{
    return transports::awaits_answers(state_->notes);
}

Nanoseconds TlsEngine::status_until() const
{
    return transports::status_until(state_->notes);
}

void TlsEngine::staple(OcspBytes response)
{
    state_->notes.staple = std::move(response);
}

const TlsContext& TlsEngine::context() const noexcept
{
    return *state_->context;
}

bool TlsEngine::export_keys(const std::string& label, std::span<const std::byte> context, std::span<std::byte> out)
{
    const State& state = *state_;
    if (state.state != EngineState::established && state.state != EngineState::ended) {
        return false;
    }
    forget_library_errors();
    return SSL_export_keying_material(state.session.get(), reinterpret_cast<unsigned char*>(out.data()), out.size(),
                                      label.data(), label.size(),
                                      reinterpret_cast<const unsigned char*>(context.data()), context.size(), 1) == 1;
}

void TlsEngine::shutdown()
{
    State& state = *state_;
    if (!state.may_send()) {
        return;
    }
    forget_library_errors();
    const int result = SSL_shutdown(state.session.get());
    if (result < 0) {
        state.fail_from_library(result);
    } else if (state.state == EngineState::ended) {
        state.state = EngineState::closed;
    }
}

std::span<const std::byte> TlsEngine::output() const noexcept
{
    return state_->wire.output();
}

void TlsEngine::consume_output(std::size_t count) noexcept
{
    state_->wire.consume_output(count);
}

EngineState TlsEngine::state() const noexcept
{
    return state_->state;
}

const Closed& TlsEngine::failure() const noexcept
{
    return state_->failure;
}

const PeerIdentity& TlsEngine::peer() const noexcept
{
    return state_->notes.peer;
}

bool TlsEngine::buffering() const noexcept
{
    return state_->wire.inside_record();
}

} // namespace transports
