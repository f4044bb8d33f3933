#include <doctest/doctest.h>

#include "tests/support/engine_pair.hpp"
#include "transports/tls_engine.hpp"

using support::PlainSettings;
using support::PlainTlsPeer;
using support::Scene;
using transports::CloseReason;
using transports::EngineState;

namespace {

constexpr int kTls12 = 0x0303;
constexpr int kTls13 = 0x0304;
constexpr int kHandshakeFailure = 40;

struct Seen {
    EngineState state{};
    CloseReason reason{};
    int alert{};
    std::size_t records{}; // that reached the peer's application
};

Seen meet(transports::TlsSettings ours, PlainSettings theirs, bool demanded)
{
    ours.policy.demands_ems = demanded;
    PlainTlsPeer peer{theirs};
    const auto engine = support::make_engine(ours, theirs.server ? "server.test" : "");
    converse(*engine, peer);
    (void)engine->send(support::octets("time"));
    converse(*engine, peer);
    return {engine->state(), engine->failure().reason, peer.alert(), peer.received().size()};
}

PlainSettings without(PlainSettings settings, int version)
{
    settings.master_secret_extended = false;
    settings.oldest = settings.newest = version;
    return settings;
}

} // namespace

TEST_SUITE_BEGIN("tls_ems");

TEST_CASE("a peer without an extended master secret is refused where it is demanded, before any data")
{
    Scene scene;
    const auto as_server = meet(scene.server_settings, without(scene.plain_client(), kTls12), true);
    CHECK(as_server.state == EngineState::failed);
    CHECK(as_server.reason == CloseReason::no_extended_master_secret);
    CHECK(as_server.alert == kHandshakeFailure);
    CHECK(as_server.records == 0);
    const auto as_client = meet(scene.client_settings, without(scene.plain_server(), kTls12), true);
    CHECK(as_client.state == EngineState::failed);
    CHECK(as_client.reason == CloseReason::no_extended_master_secret);
    CHECK(as_client.records == 0);
}

TEST_CASE("where it is not demanded such a peer is served, and one that has it always is")
{
    Scene scene;
    CHECK(meet(scene.server_settings, without(scene.plain_client(), kTls12), false).state == EngineState::established);
    CHECK(meet(scene.client_settings, without(scene.plain_server(), kTls12), false).state == EngineState::established);
    PlainSettings client = scene.plain_client();
    client.oldest = client.newest = kTls12;
    CHECK(meet(scene.server_settings, client, true).state == EngineState::established);
    PlainSettings server = scene.plain_server();
    server.oldest = server.newest = kTls12;
    CHECK(meet(scene.client_settings, server, true).state == EngineState::established);
}

TEST_CASE("TLS 1.3 has no such extension, and needs none")
{
    Scene scene;
    CHECK(meet(scene.server_settings, without(scene.plain_client(), kTls13), true).state == EngineState::established);
    CHECK(meet(scene.client_settings, without(scene.plain_server(), kTls13), true).state == EngineState::established);
}

TEST_CASE("a client of both versions without the extension is served in TLS 1.3 only")
{
    Scene scene;
    PlainSettings client = scene.plain_client();
    client.master_secret_extended = false;
    CHECK(meet(scene.server_settings, client, true).state == EngineState::established);
    scene.server_settings.policy.versions = {"TLS1.2"};
    std::erase_if(scene.server_settings.policy.suites, [](const auto& suite) { return suite.starts_with("TLS_AES"); });
    std::erase(scene.server_settings.policy.suites, "TLS_CHACHA20_POLY1305_SHA256");
    CHECK(meet(scene.server_settings, client, true).reason == CloseReason::no_extended_master_secret);
}

TEST_CASE("certificates are signed with what the policy offers, and on its curves")
{
    Scene scene; // whose authority has a P-256 key and signs with SHA-256
    support::Wish wish = support::server_wish();
    wish.key = support::KeyType::rsa2048; // the handshake itself then needs no ECDSA
    const support::Identity leaf = scene.issue(wish);
    PlainSettings server = scene.plain_server();
    server.identity = &leaf;
    support::Wish own = support::client_wish();
    own.key = support::KeyType::rsa2048;
    scene.show(scene.client_settings, scene.issue(own));
    struct Case {
        std::vector<std::string> signatures;
        std::optional<CloseReason> refused;
    };
    const std::vector<Case> cases = {
        {{"rsa_pss_rsae_sha256", "ecdsa_secp256r1_sha256"}, std::nullopt},
        {{"rsa_pss_rsae_sha256", "ecdsa_secp384r1_sha384"}, CloseReason::weak_signature},
        {{"rsa_pss_rsae_sha256"}, CloseReason::weak_signature},
    };
    for (const auto& one : cases) {
        CAPTURE(one.signatures.back());
        scene.client_settings.policy.signatures = one.signatures;
        const auto engine = support::make_engine(scene.client_settings);
        PlainTlsPeer peer{server};
        converse(*engine, peer);
        if (one.refused) {
            CHECK(engine->failure().reason == *one.refused);
        } else {
            CHECK(engine->state() == EngineState::established);
        }
    }
}

TEST_SUITE_END();
