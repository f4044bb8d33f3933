// Two DTLS engines, and a network that loses, repeats, delays, cuts, breaks and forges what they say to each other.
//
// Property: an end delivers nothing before both are established and nothing after it failed; what it delivers is what
// the other sent, whole and once; an association past its handshake survives everything that is not authentic; a replay
// is called one only of a datagram that came before; and a network that stays alone lets the handshake end and loses
// nothing afterwards.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "tests/fuzz/property.hpp"
#include "transports/dtls_engine.hpp"
#include "transports/tls_context.hpp"
#include "transports/tls_pki.hpp"

namespace {

using fuzz::require;
using transports::Discard;
using transports::DtlsEngine;
using transports::EngineState;
using transports::Nanoseconds;
using transports::TlsContext;
using transports::TlsRole;
using Octets = std::vector<std::byte>;

std::shared_ptr<const TlsContext> make_context(const std::filesystem::path& directory, TlsRole role)
{
    transports::TlsSettings settings;
    const std::string own = role == TlsRole::server ? "server" : "client";
    settings.role = role;
    settings.datagrams = true;
    settings.policy.versions = {"DTLS1.2"};
    settings.policy.suites = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"};
    settings.policy.groups = {"x25519", "secp256r1"};
    settings.policy.signatures = {"ecdsa_secp256r1_sha256"};
    settings.ca = directory / "ca.pem";
    settings.certificate = directory / (own + ".pem");
    settings.key = directory / (own + ".key");
    settings.alpn = "ntpgate/1";
    auto made = TlsContext::create(settings);
    require(made.index() == 0, "no context");
    return std::get<0>(made);
}

struct Contexts {
    Contexts()
    {
        const auto directory =
            std::filesystem::temp_directory_path() / ("ntpgate-fuzz-dtls-" + std::to_string(::getpid()));
        transports::TrialPki request;
        request.directory = directory;
        require(!transports::write_trial_pki(request), "no trial certificates");
        client = make_context(directory, TlsRole::client);
        server = make_context(directory, TlsRole::server);
        std::error_code ignored; // what is left in the temporary directory harms nobody
        std::filesystem::remove_all(directory, ignored);
    }
    std::shared_ptr<const TlsContext> client;
    std::shared_ptr<const TlsContext> server;
};

/// One engine, the network from it, and what it was given to send.
struct End {
    explicit End(std::unique_ptr<DtlsEngine> made) : engine{std::move(made)} {}

    std::unique_ptr<DtlsEngine> engine;
    std::deque<Octets> way;       // towards the other end
    std::vector<Octets> captured; // all that ever left
    std::set<Octets> sent;
    std::set<Octets> delivered; // of the other end's `sent`
    std::set<Octets> arrived;   // datagrams, whole
    bool was_established = false;
    bool ended = false; // said close_notify
};

class Conversation {
public:
    explicit Conversation(const Contexts& contexts)
        : client_{DtlsEngine::create(contexts.client, "localhost", kWire)}, server_{DtlsEngine::create(contexts.server,
                                                                                                       "", kWire)}
    {
        cookies_.current.fill(1);
        client_.engine->start(now_);
        collect(client_);
    }

    void step(std::uint8_t operation);
    void finish();

private:
    static constexpr transports::DatagramWire::Setting kWire{1172, false, std::chrono::milliseconds{800}};

    void collect(End& end);
    void arrive(const Octets& datagram, End& to, End& from);
    void judge(const Octets& datagram, const transports::DiscardCounters& before, End& to);
    void move(End& from, End& to);
    void send(End& from, std::size_t size);
    void spoil(End& from, End& to, std::size_t how);
    void wait(Nanoseconds span);

    End client_;
    End server_;
    transports::DtlsCookies cookies_;
    Nanoseconds now_{std::chrono::hours{1}};
    bool proven_ = false;
    bool tampered_ = false; // octets, not only their order and number
    std::uint8_t serial_ = 0;
};

void Conversation::collect(End& end)
{
    while (const auto datagram = end.engine->next_output()) {
        require(datagram->size() <= kWire.payload, "a datagram longer than the path");
        end.way.emplace_back(datagram->begin(), datagram->end());
        end.captured.push_back(end.way.back());
    }
    end.was_established = end.was_established || end.engine->state() == EngineState::established;
}

void Conversation::judge(const Octets& datagram, const transports::DiscardCounters& before, End& to)
{
    const auto& now = to.engine->discards();
    const auto at = static_cast<std::size_t>(Discard::replay_detected);
    const auto replays = now.by_reason.at(at) - before.by_reason.at(at);
    const auto doubtful = now.unverified_replays - before.unverified_replays;
    require(replays == doubtful || to.arrived.contains(datagram) || datagram.size() > 400,
            "a record called a replay that never came before");
}

void Conversation::arrive(const Octets& datagram, End& to, End& from)
{
    if (&to == &server_ && !proven_) {
        proven_ = server_.engine->listen(datagram, cookies_);
        if (proven_) {
            server_.engine->start(now_);
        }
        collect(server_);
        return;
    }
    const bool was_established = to.engine->state() == EngineState::established;
    const transports::DiscardCounters before = to.engine->discards();
    to.engine->receive(datagram, now_);
    while (const auto message = to.engine->next_message()) {
        Octets text{message->begin(), message->end()};
        require(from.was_established && to.was_established, "delivered before both were established");
        require(from.sent.contains(text), "delivered what was never sent");
        require(to.delivered.insert(std::move(text)).second, "delivered twice");
        collect(to);
    }
    collect(to);
    judge(datagram, before, to);
    if (fuzz::kPlantedBug && was_established && to.arrived.contains(datagram) && !to.delivered.empty()) {
        require(to.delivered.insert(*to.delivered.begin()).second, "delivered twice"); // as without a replay window
    }
    to.arrived.insert(datagram);
    // An end whose handshake was spoilt says so, and under the keys it has by then that is authentic.
    const bool peer_failed = from.engine->state() == EngineState::failed;
    const bool lives =
        to.engine->state() == EngineState::established || to.engine->state() == EngineState::ended || peer_failed;
    require(!was_established || lives, "an association died of what its peer did not say");
    require(to.engine->state() != EngineState::ended || from.ended, "an end that nobody said");
    if (to.engine->state() == EngineState::failed) {
        require(!to.engine->next_message(), "delivered after it failed");
        require(!transports::name(to.engine->failure().reason).empty(), "failed without a reason");
    }
}

void Conversation::move(End& from, End& to)
{
    collect(from);
    if (!from.way.empty()) {
        const Octets datagram = std::move(from.way.front());
        from.way.pop_front();
        arrive(datagram, to, from);
    }
}

void Conversation::send(End& from, std::size_t size)
{
    Octets text(size + 1, static_cast<std::byte>(++serial_));
    if (!from.sent.contains(text) && from.engine->send(text)) {
        require(from.was_established, "sealed before it was established");
        from.sent.insert(std::move(text));
    }
    collect(from);
}

void Conversation::wait(Nanoseconds span)
{
    now_ += span;
    for (End* const end : {&client_, &server_}) {
        const bool was_established = end->engine->state() == EngineState::established;
        end->engine->on_deadline(now_);
        require(!was_established || end->engine->state() == EngineState::established, "a timer ended an association");
        collect(*end);
    }
}

void Conversation::spoil(End& from, End& to, std::size_t how)
{
    collect(from);
    if (from.way.empty()) {
        return;
    }
    Octets& datagram = from.way.front();
    const bool plain = !to.was_established;
    if (how < 4) { // break one octet
        tampered_ = tampered_ || plain;
        datagram.at((how * 37 + serial_) % datagram.size()) ^= std::byte{0x20};
    } else if (how < 6) { // cut it short
        tampered_ = tampered_ || plain;
        datagram.resize(datagram.size() / (how - 2) + 1);
    } else if (how < 10) { // another number
        tampered_ = tampered_ || plain;
        datagram.at(std::min<std::size_t>(how + 1, datagram.size() - 1)) ^= std::byte{0x07};
    } else if (how < 12) { // lose it
        from.way.pop_front();
    } else if (how < 14) { // let it be overtaken
        std::rotate(from.way.begin(), from.way.begin() + 1, from.way.end());
    } else { // repeat it
        from.way.push_back(Octets{datagram});
    }
}

void Conversation::step(std::uint8_t operation)
{
    End& from = (operation & 0x80U) == 0 ? client_ : server_;
    End& to = (operation & 0x80U) == 0 ? server_ : client_;
    const std::size_t amount = operation & 0x0FU;
    switch ((operation >> 4U) & 0x07U) {
    case 0:
    case 1:
        for (std::size_t i = 0; i <= amount; ++i) {
            move(from, to);
        }
        break;
    case 2:
        send(from, amount * 73);
        break;
    case 3:
        spoil(from, to, amount);
        break;
    case 4:
        wait(std::chrono::milliseconds{25} * static_cast<int>(amount + 1));
        break;
    case 5: // a datagram of the past, whatever it was
        if (!from.captured.empty()) {
            arrive(Octets{from.captured.at(amount * from.captured.size() / 16)}, to, from);
        }
        break;
    case 6:
        move(from, to);
        move(to, from);
        break;
    default:
        if (amount == 15) {
            from.ended = from.ended || from.engine->state() == EngineState::established;
            from.engine->shutdown();
            collect(from);
        } else {
            wait(std::chrono::milliseconds{1});
        }
        break;
    }
}

void Conversation::finish()
{
    for (int i = 0; i < 200; ++i) {
        while (!client_.way.empty() || !server_.way.empty()) {
            move(client_, server_);
            move(server_, client_);
        }
        wait(std::chrono::milliseconds{50});
    }
    if (tampered_ || client_.ended || server_.ended) {
        return;
    }
    const bool both =
        client_.engine->state() == EngineState::established && server_.engine->state() == EngineState::established;
    require(both || now_ > std::chrono::hours{1} + std::chrono::seconds{14}, "no end of the handshake in good time");
    const std::size_t delivered = server_.delivered.size();
    if (both) {
        send(client_, 1111);
        move(client_, server_);
        require(server_.delivered.size() == delivered + 1 || client_.sent.size() == server_.delivered.size(),
                "a good network lost a record");
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static const Contexts kContexts;
    constexpr std::size_t kMaxSteps = 256;
    Conversation conversation{kContexts};
    for (const std::uint8_t operation : std::span{data, std::min(size, kMaxSteps)}) {
        conversation.step(operation);
    }
    conversation.finish();
    return 0;
}
