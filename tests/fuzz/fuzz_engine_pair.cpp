// Two TLS engines and a wire that cuts, breaks, drops and repeats what they say to each other.
//
// Property: an end delivers nothing before both are established and nothing after it failed; what it delivers is what
// the other sent, whole, once and in order, from the first record on; and on a wire that was left alone it is all of
// it.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "tests/fuzz/property.hpp"
#include "transports/tls_context.hpp"
#include "transports/tls_engine.hpp"
#include "transports/tls_pki.hpp"

namespace {

using fuzz::require;
using transports::EngineState;
using transports::TlsContext;
using transports::TlsEngine;
using transports::TlsRole;
using Octets = std::vector<std::byte>;

std::shared_ptr<const TlsContext> make_context(const std::filesystem::path& directory, TlsRole role,
                                               const std::string& version)
{
    transports::TlsSettings settings;
    const std::string own = role == TlsRole::server ? "server" : "client";
    settings.role = role;
    settings.policy.versions = {version};
    settings.policy.suites = {"TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"};
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
        const auto directory = std::filesystem::temp_directory_path() / ("ntpgate-fuzz-" + std::to_string(::getpid()));
        transports::TrialPki request;
        request.directory = directory;
        require(!transports::write_trial_pki(request), "no trial certificates");
        for (const std::string version : {"TLS1.3", "TLS1.2"}) {
            clients.push_back(make_context(directory, TlsRole::client, version));
            servers.push_back(make_context(directory, TlsRole::server, version));
        }
        std::error_code ignored; // what is left in the temporary directory harms nobody
        std::filesystem::remove_all(directory, ignored);
    }
    std::vector<std::shared_ptr<const TlsContext>> clients;
    std::vector<std::shared_ptr<const TlsContext>> servers;
};

/// One engine, the wire from it, and what it was given to send.
struct End {
    explicit End(std::unique_ptr<TlsEngine> made) : engine{std::move(made)} {}

    std::unique_ptr<TlsEngine> engine;
    Octets wire; // towards the other end
    std::vector<Octets> sent;
    std::size_t delivered = 0; // of the other end's `sent`
    bool was_established = false;
};

class Conversation {
public:
    Conversation(const Contexts& contexts, std::size_t version)
        : client_{TlsEngine::create(contexts.clients.at(version), "localhost")}, server_{TlsEngine::create(
                                                                                     contexts.servers.at(version), "")}
    {
        client_.engine->start();
    }

    void step(std::uint8_t operation);
    void finish();

private:
    void collect(End& end);
    void move(End& from, End& to, std::size_t count);
    void read(End& from, End& to);
    void deliver(const Octets& record, const End& from, End& to);
    void send(End& from, std::size_t size);
    void spoil(End& from, unsigned kind, std::size_t count);

    End client_;
    End server_;
    bool tampered_ = false;
};

void Conversation::collect(End& end)
{
    const auto output = end.engine->output();
    end.wire.insert(end.wire.end(), output.begin(), output.end());
    end.engine->consume_output(output.size());
    end.was_established = end.was_established || end.engine->state() == EngineState::established;
}

void Conversation::deliver(const Octets& record, const End& from, End& to)
{
    require(from.was_established && to.was_established, "delivered before both were established");
    require(to.delivered < from.sent.size(), "delivered what was never sent");
    require(record == from.sent.at(to.delivered), "delivered something else, or out of order");
    ++to.delivered;
}

void Conversation::read(End& from, End& to)
{
    collect(from);
    collect(to);
    for (;;) {
        const bool failed = to.engine->state() == EngineState::failed;
        const auto record = to.engine->next_record();
        if (!record) {
            break;
        }
        require(!failed, "delivered after it failed");
        deliver({record->begin(), record->end()}, from, to);
    }
    if (to.engine->state() == EngineState::failed) {
        require(!to.engine->next_record(), "delivered after it failed");
        require(!transports::name(to.engine->failure().reason).empty(), "failed without a reason");
    }
    collect(to);
}

void Conversation::move(End& from, End& to, std::size_t count)
{
    collect(from);
    const Octets part{from.wire.begin(),
                      from.wire.begin() + static_cast<std::ptrdiff_t>(std::min(count, from.wire.size()))};
    from.wire.erase(from.wire.begin(), from.wire.begin() + static_cast<std::ptrdiff_t>(part.size()));
    if (!part.empty()) {
        to.engine->receive(part);
        read(from, to);
    }
}

void Conversation::send(End& from, std::size_t size)
{
    collect(from);
    Octets text(size + 1, static_cast<std::byte>(from.sent.size()));
    if (from.engine->send(text)) {
        require(from.was_established, "sealed before it was established");
        from.sent.push_back(std::move(text));
    }
    collect(from);
}

void Conversation::spoil(End& from, unsigned kind, std::size_t count)
{
    collect(from);
    const std::size_t size = std::min(count + 1, from.wire.size());
    if (size == 0) {
        return;
    }
    tampered_ = true;
    const auto end = from.wire.begin() + static_cast<std::ptrdiff_t>(size);
    if (kind == 0) {
        from.wire.at(size - 1) ^= std::byte{0x20};
    } else if (kind == 1) {
        from.wire.erase(from.wire.begin(), end);
    } else {
        const Octets again{from.wire.begin(), end};
        from.wire.insert(from.wire.begin(), again.begin(), again.end());
        // The planted bug: as if the engine had no sequence numbers, the last record is there once more.
        End& to = &from == &client_ ? server_ : client_;
        if (fuzz::kPlantedBug && to.delivered > 0) {
            deliver(from.sent.at(to.delivered - 1), from, to);
        }
    }
}

void Conversation::step(std::uint8_t operation)
{
    constexpr std::size_t kAll = 1U << 20U;
    End& from = (operation & 0x80U) == 0 ? client_ : server_;
    End& to = (operation & 0x80U) == 0 ? server_ : client_;
    const std::size_t amount = operation & 0x0FU;
    switch ((operation >> 4U) & 0x07U) {
    case 0:
        move(from, to, amount + 1);
        break;
    case 1:
        move(from, to, amount == 0 ? kAll : amount * 64);
        break;
    case 2:
        send(from, amount);
        break;
    case 3:
        send(from, amount == 15 ? 16383 : amount * 1092); // up to the largest record
        break;
    case 4:
        spoil(from, 0, amount * 8);
        break;
    case 5:
        spoil(from, 1, amount * 4);
        break;
    case 6:
        spoil(from, 2, amount * 8);
        break;
    case 7:
        if (amount == 0) {
            from.engine->shutdown();
        } else {
            move(from, to, 5 * amount);
        }
        break;
    default: // three bits have no more values
        break;
    }
}

void Conversation::finish()
{
    constexpr std::size_t kChunk = 16384;
    do {
        move(client_, server_, kChunk);
        move(server_, client_, kChunk);
    } while (!client_.wire.empty() || !server_.wire.empty());
    if (!tampered_) {
        require(client_.engine->state() != EngineState::failed, "the client failed on a good wire");
        require(server_.engine->state() != EngineState::failed, "the server failed on a good wire");
        require(client_.was_established && server_.was_established, "not established on a good wire");
        require(server_.delivered == client_.sent.size(), "a record was lost on the way to the server");
        require(client_.delivered == server_.sent.size(), "a record was lost on the way to the client");
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static const Contexts kContexts;
    constexpr std::size_t kMaxSteps = 512;
    const std::span<const std::uint8_t> input{data, size};
    if (input.empty()) {
        return 0;
    }
    Conversation conversation{kContexts, input.front() & 1U};
    for (const std::uint8_t operation : input.subspan(1, std::min(size - 1, kMaxSteps))) {
        conversation.step(operation);
    }
    conversation.finish();
    return 0;
}
