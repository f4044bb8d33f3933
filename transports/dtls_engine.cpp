#include "transports/dtls_engine.hpp"

#include <utility>
#include <vector>

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "transports/dtls_record.hpp"
#include "transports/dtls_replay.hpp"
#include "transports/dtls_sealed.hpp"
#include "transports/tls_evidence.hpp"
#include "transports/tls_outcome.hpp"
#include "transports/tls_state.hpp"

namespace transports {

namespace {

constexpr std::size_t kMaxRecord = SSL3_RT_MAX_PLAIN_LENGTH;
// RFC 6347 section 4.1: 0 before any key, one more with each. Ours never change their keys.
constexpr std::uint16_t kEpoch = 1;
// Records of the epoch to come that OpenSSL may keep until the keys are there, each in a buffer of its own: a flight's
// Finished, as often as loss makes the peer repeat it. The library alone would keep a hundred.
constexpr unsigned kMaxEarlyRecords = 16;

} // namespace

struct DtlsEngine::State {
    State(std::shared_ptr<const TlsContext> made_by, const std::string& reference, const DatagramWire::Setting& setting)
        : context{std::move(made_by)}, notes{context->state(), make_reference(reference)}, wire{setting}
    {}

    [[nodiscard]] bool is_client() const noexcept { return context->settings().role == TlsRole::client; }
    [[nodiscard]] bool prepare();
    void shake_hands();
    void settle();
    void take_handshake(const DtlsRecord& record);
    [[nodiscard]] std::optional<std::span<const std::byte>> open(const DtlsRecord& record);
    [[nodiscard]] std::optional<std::span<const std::byte>> read(const DtlsRecord& record);
    void count(Discard why) noexcept { ++discards.by_reason[static_cast<std::size_t>(why)]; }
    void fail(Closed why);
    void fail_from_library(int result);
    [[nodiscard]] bool may_send() const noexcept;
    [[nodiscard]] bool is_too_short(const DtlsRecord& record) const;

    std::shared_ptr<const TlsContext> context;
    EngineNotes notes;
    DatagramWire wire;
    Owned<ssl_st> session; // after the wire and the notes: it points at both
    EngineState state = EngineState::handshaking;
    bool concluded = false; // the handshake itself is over
    Closed failure;
    ReplayWindow window;
    DiscardCounters discards;
    std::span<const std::byte> rest; // of the datagram being taken
    std::vector<std::byte> message;
    std::size_t max_message = 0;
    unsigned early_records = 0; // of kEpoch, before established
};

/// OpenSSL 3.0 ends the association over a record that is shorter than its tag, instead of discarding it
/// (RFC 6347 section 4.1.2.7): anybody could write one.
bool DtlsEngine::State::is_too_short(const DtlsRecord& record) const
{
    if (record.epoch == 0) {
        return false;
    }
    const auto shortest = shortest_sealed(*session);
    return !shortest || record.bytes.size() < kRecordHeader + *shortest; // no suite, no keys: nobody can have sealed it
}

bool DtlsEngine::State::prepare()
{
    session.reset(SSL_new(context->state().library.get()));
    Owned<bio_st> bio = wire.make_bio();
    if (!session || !bio) {
        return false;
    }
    bio_st* const both = bio.release(); // one for either direction takes one reference
    SSL_set_bio(session.get(), both, both);
    attach(*session, notes);
    is_client() ? SSL_set_connect_state(session.get()) : SSL_set_accept_state(session.get());
    if (SSL_set_mtu(session.get(), static_cast<long>(wire.setting().payload)) == 0) {
        return false;
    }
    // RFC 6066 section 3: a host name is sent, an address never.
    std::string& host = notes.reference.host;
    return !is_client() || host.empty() ||
           SSL_ctrl(session.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host.data()) == 1;
}

void DtlsEngine::State::fail(Closed why)
{
    state = EngineState::failed;
    failure = std::move(why);
    rest = {};
}

void DtlsEngine::State::fail_from_library(int result)
{
    fail(why_failed(*session, notes, result, state == EngineState::handshaking));
}

bool DtlsEngine::State::may_send() const noexcept
{
    return state == EngineState::established && (SSL_get_shutdown(session.get()) & SSL_SENT_SHUTDOWN) == 0;
}

void DtlsEngine::State::shake_hands()
{
    forget_library_errors();
    const int result = SSL_do_handshake(session.get());
    wire.withdraw();
    if (result != 1) {
        if (SSL_get_error(session.get(), result) != SSL_ERROR_WANT_READ) {
            fail_from_library(result);
        }
        return;
    }
    if (std::exchange(concluded, true)) {
        return; // records that came while answers are awaited
    }
    if (auto refusal = conclude(*session, notes)) {
        fail(std::move(*refusal));
        return;
    }
    max_message = DTLS_get_data_mtu(session.get());
    if (notes.asked.empty()) {
        state = EngineState::established;
    } else {
        settle(); // answers that overtook the end of the handshake have not been looked at
    }
}

/// The last answer may have come after the handshake; there is no alert any more for what it says.
void DtlsEngine::State::settle()
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

void DtlsEngine::State::take_handshake(const DtlsRecord& record)
{
    if (record.type == ContentType::application_data) {
        // It overtook the end of its own handshake. OpenSSL would keep it, and then nobody could say which number it
        // had; a lost message is what the carrier's contract allows.
        count(Discard::wrong_epoch);
        return;
    }
    if (is_too_short(record)) {
        count(Discard::bad_record);
        return;
    }
    if (record.epoch != 0 && ++early_records > kMaxEarlyRecords) {
        count(Discard::wrong_epoch);
        return;
    }
    wire.offer(record.bytes);
    const bool was_concluded = concluded;
    shake_hands();
    if (concluded && !was_concluded && record.epoch == kEpoch) {
        window.mark(record.number, record.tail()); // the peer's Finished, which completed it
    }
}

std::optional<std::span<const std::byte>> DtlsEngine::State::open(const DtlsRecord& record)
{
    if (record.epoch != kEpoch) {
        count(Discard::wrong_epoch);
        return std::nullopt;
    }
    if (is_too_short(record)) {
        count(Discard::bad_record);
        return std::nullopt;
    }
    switch (window.judge(record.number, record.tail())) {
    case ReplayWindow::Verdict::fresh:
        return read(record);
    case ReplayWindow::Verdict::same_record:
        count(Discard::replay_detected);
        return std::nullopt;
    case ReplayWindow::Verdict::too_old:
        count(Discard::replay_detected);
        ++discards.unverified_replays;
        return std::nullopt;
    case ReplayWindow::Verdict::same_number:
        count(Discard::bad_record);
        return std::nullopt;
    }
    return std::nullopt;
}

std::optional<std::span<const std::byte>> DtlsEngine::State::read(const DtlsRecord& record)
{
    const std::uint32_t heard_before = notes.idle_messages + notes.alerts;
    const std::size_t answers_before = wire.outputs();
    message.resize(kMaxRecord);
    wire.offer(record.bytes);
    forget_library_errors();
    std::size_t size = 0;
    const int result = SSL_read_ex(session.get(), message.data(), message.size(), &size);
    wire.withdraw();
    // OpenSSL drops what does not authenticate without a word. What did authenticate was delivered, heard by a
    // callback, or answered: a peer that repeats its Finished gets our last flight again.
    if (result == 1 || notes.idle_messages + notes.alerts != heard_before || wire.outputs() != answers_before) {
        window.mark(record.number, record.tail());
    } else {
        count(Discard::bad_record);
    }
    if (auto why = misbehaviour(notes)) {
        fail(std::move(*why));
        return std::nullopt;
    }
    if (result == 1) {
        notes.idle_messages = 0;
        message.resize(size);
        return message;
    }
    message = {};
    const int error = SSL_get_error(session.get(), result);
    if (error == SSL_ERROR_ZERO_RETURN) {
        state = EngineState::ended;
        rest = {};
    } else if (error == SSL_ERROR_SYSCALL && (SSL_get_shutdown(session.get()) & SSL_SENT_SHUTDOWN) != 0) {
        // After our close_notify OpenSSL reads nothing but application data and alerts, and has no word for the rest.
    } else if (error != SSL_ERROR_WANT_READ) {
        fail_from_library(result);
    }
    return std::nullopt;
}

DtlsEngine::DtlsEngine(std::unique_ptr<State> state) : state_{std::move(state)}
{}

DtlsEngine::~DtlsEngine() = default;

std::unique_ptr<DtlsEngine> DtlsEngine::create(std::shared_ptr<const TlsContext> context, const std::string& reference,
                                               const DatagramWire::Setting& setting)
{
    auto made = std::make_unique<State>(std::move(context), reference, setting);
    forget_library_errors();
    if (!made->prepare()) {
        made->fail({CloseReason::io_error, take_library_errors().text});
    }
    return std::unique_ptr<DtlsEngine>{new DtlsEngine{std::move(made)}};
}

bool DtlsEngine::listen(std::span<const std::byte> datagram, const DtlsCookies& cookies)
{
    State& state = *state_;
    if (state.state != EngineState::handshaking) {
        return false;
    }
    struct FreeAddress {
        void operator()(BIO_ADDR* address) const noexcept { BIO_ADDR_free(address); }
    };
    const std::unique_ptr<BIO_ADDR, FreeAddress> unused{BIO_ADDR_new()}; // the wire has no addresses to tell
    if (!unused) {
        return false;
    }
    state.notes.cookies = cookies;
    state.wire.offer(datagram);
    const int result = DTLSv1_listen(state.session.get(), unused.get());
    state.wire.withdraw();
    state.notes.idle_messages = 0;
    forget_library_errors(); // garbage is dropped here like any other
    return result == 1;
}

void DtlsEngine::start(Nanoseconds boot_now)
{
    if (state_->state == EngineState::handshaking) {
        state_->wire.set_now(boot_now);
        state_->shake_hands();
    }
}

void DtlsEngine::receive(std::span<const std::byte> datagram, Nanoseconds boot_now)
{
    State& state = *state_;
    if (state.state == EngineState::handshaking || state.state == EngineState::established) {
        state.wire.set_now(boot_now);
        state.rest = datagram;
    }
}

std::optional<std::span<const std::byte>> DtlsEngine::next_message()
{
    State& state = *state_;
    while (!state.rest.empty()) {
        const auto record = take_record(state.rest);
        if (!record) {
            state.count(Discard::not_a_record);
            state.rest = {};
        } else if (state.state == EngineState::handshaking) {
            state.take_handshake(*record);
        } else if (const auto message = state.open(*record)) {
            return message;
        }
    }
    return std::nullopt;
}

bool DtlsEngine::send(std::span<const std::byte> plain)
{
    State& state = *state_;
    if (!state.may_send() || plain.empty() || plain.size() > state.max_message) {
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

std::size_t DtlsEngine::max_message() const noexcept
{
    return state_->max_message;
}

void DtlsEngine::shutdown()
{
    State& state = *state_;
    if (!state.may_send()) {
        return;
    }
    forget_library_errors();
    if (const int result = SSL_shutdown(state.session.get()); result < 0) {
        state.fail_from_library(result);
    }
}

std::vector<OcspQuestion> DtlsEngine::take_questions()
{
    return std::exchange(state_->notes.questions, {});
}

void DtlsEngine::answer(const std::vector<OcspAnswer>& answers)
{
    take_answers(state_->notes, answers);
    if (state_->state == EngineState::handshaking && state_->concluded) {
        state_->settle();
    }
}

std::optional<Closed> DtlsEngine::judge_again(const TlsContext& context)
{
    return transports::judge_again(*state_->session, state_->notes, context.state());
}

bool DtlsEngine::awaits_answers() const
{
    return transports::awaits_answers(state_->notes);
}

Nanoseconds DtlsEngine::status_until() const
{
    return transports::status_until(state_->notes);
}

void DtlsEngine::staple(OcspBytes response)
{
    state_->notes.staple = std::move(response);
}

const TlsContext& DtlsEngine::context() const noexcept
{
    return *state_->context;
}

std::optional<Nanoseconds> DtlsEngine::deadline() const noexcept
{
    const bool running = state_->state == EngineState::handshaking || state_->state == EngineState::established;
    return running ? state_->wire.deadline() : std::nullopt;
}

void DtlsEngine::on_deadline(Nanoseconds boot_now)
{
    State& state = *state_;
    const auto due = deadline();
    if (!due || boot_now < *due) {
        return;
    }
    state.wire.set_now(boot_now);
    state.wire.expire();
    forget_library_errors();
    if (const long result = DTLSv1_handle_timeout(state.session.get()); result < 0) {
        forget_library_errors();
        state.fail({CloseReason::handshake_timeout, "the peer answers no longer"});
    }
}

std::optional<std::span<const std::byte>> DtlsEngine::next_output()
{
    return state_->wire.next_output();
}

EngineState DtlsEngine::state() const noexcept
{
    return state_->state;
}

const Closed& DtlsEngine::failure() const noexcept
{
    return state_->failure;
}

const PeerIdentity& DtlsEngine::peer() const noexcept
{
    return state_->notes.peer;
}

const DiscardCounters& DtlsEngine::discards() const noexcept
{
    return state_->discards;
}

} // namespace transports
