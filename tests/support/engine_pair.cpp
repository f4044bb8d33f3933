#include "tests/support/engine_pair.hpp"

#include <algorithm>
#include <stdexcept>

namespace support {

using transports::EngineState;
using transports::TlsEngine;
using transports::TlsProblem;
using transports::TlsSettings;

transports::TlsPolicy test_policy()
{
    transports::TlsPolicy policy;
    policy.versions = {"TLS1.3", "TLS1.2"};
    policy.suites = {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                     "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"};
    policy.groups = {"x25519", "secp256r1"};
    policy.signatures = {"ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "rsa_pss_rsae_sha256", "rsa_pkcs1_sha256"};
    return policy;
}

Wish server_wish()
{
    Wish wish;
    wish.common_name = "the server";
    wish.names = {"DNS:server.test", "IP:192.0.2.1", "IP:2001:db8::1"};
    return wish;
}

Wish client_wish()
{
    Wish wish;
    wish.common_name = "the client";
    wish.names = {"DNS:client.test"};
    wish.usage = "clientAuth";
    return wish;
}

Scene::Scene()
    : authority{authority_wish("the authority"), nullptr}, server{server_wish(), &authority}, client{client_wish(),
                                                                                                     &authority}
{
    const auto ca = folder.write("ca.pem", authority.certificate());
    for (TlsSettings* const settings : {&server_settings, &client_settings}) {
        settings->policy = test_policy();
        settings->ca = ca;
        settings->alpn = "ntpgate/1";
    }
    server_settings.role = transports::TlsRole::server;
    client_settings.role = transports::TlsRole::client;
    show(server_settings, server);
    show(client_settings, client);
}

void Scene::show(TlsSettings& settings, const Identity& identity, const std::vector<const Identity*>& chain) const
{
    const std::string name = settings.role == transports::TlsRole::server ? "server" : "client";
    std::string text = identity.certificate();
    for (const Identity* const issuer : chain) {
        text += issuer->certificate();
    }
    settings.certificate = folder.write(name + ".pem", text);
    settings.key = folder.write(name + ".key", identity.key());
}

PlainSettings Scene::plain_client() const
{
    PlainSettings settings;
    settings.identity = &client;
    settings.protocols = {"ntpgate/1"};
    return settings;
}

PlainSettings Scene::plain_server() const
{
    PlainSettings settings;
    settings.server = true;
    settings.identity = &server;
    settings.protocols = {"ntpgate/1"};
    return settings;
}

std::shared_ptr<const transports::TlsContext> make_context(const TlsSettings& settings)
{
    auto made = transports::TlsContext::create(settings);
    if (const auto* const problems = std::get_if<std::vector<TlsProblem>>(&made)) {
        std::string text = "no context:";
        for (const TlsProblem& problem : *problems) {
            text += " " + problem.setting + ": " + problem.text + ";";
        }
        throw std::runtime_error{text};
    }
    return std::get<0>(made);
}

std::unique_ptr<TlsEngine> make_engine(const TlsSettings& settings, const std::string& reference)
{
    return TlsEngine::create(make_context(settings), reference);
}

std::vector<TlsProblem> problems_of(const TlsSettings& settings)
{
    auto made = transports::TlsContext::create(settings);
    auto* const problems = std::get_if<std::vector<TlsProblem>>(&made);
    return problems == nullptr ? std::vector<TlsProblem>{} : std::move(*problems);
}

std::span<const std::byte> octets(const std::string& text)
{
    return std::as_bytes(std::span{text});
}

std::vector<std::string> read_all(TlsEngine& engine)
{
    std::vector<std::string> records;
    while (const auto record = engine.next_record()) {
        std::string text;
        for (const std::byte octet : *record) {
            text += static_cast<char>(octet);
        }
        records.push_back(std::move(text));
    }
    return records;
}

namespace {

void append(std::vector<std::string>& all, std::vector<std::string> more)
{
    std::ranges::move(more, std::back_inserter(all));
}

bool carry(TlsEngine& from, TlsEngine& to, std::size_t step)
{
    const auto pending = from.output();
    const std::vector<std::byte> wire{pending.begin(),
                                      pending.begin() + static_cast<std::ptrdiff_t>(std::min(step, pending.size()))};
    from.consume_output(wire.size());
    if (!wire.empty()) {
        to.receive(wire);
    }
    return !wire.empty();
}

} // namespace

Delivered converse(TlsEngine& client, TlsEngine& server, std::size_t step)
{
    Delivered delivered;
    if (client.state() == EngineState::handshaking) {
        client.start();
    }
    for (bool moved = true; moved;) {
        moved = carry(client, server, step);
        append(delivered.to_server, read_all(server));
        moved = carry(server, client, step) || moved;
        append(delivered.to_client, read_all(client));
    }
    return delivered;
}

void converse(TlsEngine& engine, PlainTlsPeer& peer)
{
    engine.start();
    for (bool moved = true; moved;) {
        peer.run();
        const std::vector<std::byte> theirs = peer.take_output();
        engine.receive(theirs);
        (void)read_all(engine); // the tests that use this look at the state
        const std::vector<std::byte> ours{engine.output().begin(), engine.output().end()};
        engine.consume_output(ours.size());
        peer.feed(ours);
        moved = !theirs.empty() || !ours.empty();
    }
}

} // namespace support
