#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/engine_pair.hpp"
#include "transports/tls_engine.hpp"

using support::PlainSettings;
using support::PlainTlsPeer;
using support::Scene;
using transports::Closed;
using transports::CloseReason;
using transports::EngineState;
using transports::TlsEngine;

namespace {

constexpr int kTls11 = 0x0302;
constexpr int kTls12 = 0x0303;
constexpr int kTls13 = 0x0304;
constexpr int kHandshakeFailure = 40;
constexpr int kProtocolVersion = 70;
constexpr int kNoApplicationProtocol = 120;

struct Outcome {
    EngineState state{};
    Closed why;
    int alert{}; // what the peer was told
    std::size_t sent{};
    std::string server_name; // that a server was called by
    bool saw_certificate{};  // the peer, ours
};

Outcome meet(const transports::TlsSettings& ours, const PlainSettings& theirs,
             const std::string& reference = "server.test")
{
    PlainTlsPeer peer{theirs};
    const auto engine = support::make_engine(ours, reference);
    converse(*engine, peer);
    return {engine->state(),       engine->failure(), peer.alert(), 0, theirs.server ? peer.server_name() : "",
            peer.saw_certificate()};
}

/// A server of ours and what it answers to the peer's first flight.
Outcome first_answer(const transports::TlsSettings& ours, const PlainSettings& theirs)
{
    PlainTlsPeer peer{theirs};
    peer.run();
    const auto engine = support::make_engine(ours, "");
    engine->receive(peer.take_output());
    Outcome outcome{engine->state(), engine->failure(), 0, engine->output().size(), "", false};
    peer.feed(engine->output());
    peer.run();
    outcome.alert = peer.alert();
    return outcome;
}

constexpr std::size_t kAlertRecord = 7; // nothing but an alert in the clear

} // namespace

TEST_SUITE_BEGIN("tls_refusals");

TEST_CASE("good peers are accepted in either version and role")
{
    Scene scene;
    for (const int version : {kTls12, kTls13}) {
        PlainSettings client = scene.plain_client();
        client.oldest = client.newest = version;
        CHECK(meet(scene.server_settings, client).state == EngineState::established);
        PlainSettings server = scene.plain_server();
        server.oldest = server.newest = version;
        CHECK(meet(scene.client_settings, server).state == EngineState::established);
    }
}

TEST_CASE("a peer of an older version is refused as protocol_version")
{
    Scene scene;
    PlainSettings client = scene.plain_client();
    client.oldest = client.newest = kTls11;
    const Outcome refused = first_answer(scene.server_settings, client);
    CHECK(refused.why.reason == CloseReason::protocol_version);
    CHECK(refused.alert == kProtocolVersion);
    CHECK(refused.sent == kAlertRecord);
    client.protocols.clear();
    CHECK(meet(scene.server_settings, client).why.reason == CloseReason::protocol_version);

    PlainSettings server = scene.plain_server();
    server.oldest = server.newest = kTls11;
    CHECK(meet(scene.client_settings, server).why.reason == CloseReason::protocol_version);
}

TEST_CASE("TLS 1.2 and 1.3 are refused where the policy leaves them out")
{
    Scene scene;
    for (const int version : {kTls12, kTls13}) {
        CAPTURE(version);
        scene.server_settings.policy.versions = {version == kTls12 ? "TLS1.3" : "TLS1.2"};
        scene.client_settings.policy.versions = scene.server_settings.policy.versions;
        PlainSettings client = scene.plain_client();
        client.oldest = client.newest = version;
        const Outcome refused = first_answer(scene.server_settings, client);
        CHECK(refused.why.reason == CloseReason::protocol_version);
        CHECK(refused.alert == kProtocolVersion);
        PlainSettings server = scene.plain_server();
        server.oldest = server.newest = version;
        CHECK(meet(scene.client_settings, server).why.reason == CloseReason::protocol_version);
    }
}

TEST_CASE("nothing in common is told by which list it was")
{
    Scene scene;
    PlainSettings suite = scene.plain_client();
    suite.newest = kTls12;
    suite.ciphers = "ECDHE-ECDSA-AES256-SHA:AES256-SHA:@SECLEVEL=0";
    PlainSettings suite13 = scene.plain_client();
    suite13.oldest = kTls13;
    suite13.suites = "TLS_CHACHA20_POLY1305_SHA256";
    PlainSettings group = scene.plain_client();
    group.newest = kTls12;
    group.groups = "secp521r1";
    PlainSettings group13 = scene.plain_client();
    group13.oldest = kTls13;
    group13.groups = "secp521r1";
    PlainSettings signature = scene.plain_client();
    signature.newest = kTls12;
    signature.signatures = "ed25519";
    PlainSettings signature13 = scene.plain_client();
    signature13.oldest = kTls13;
    signature13.signatures = "ed25519";
    const std::vector<std::pair<PlainSettings, CloseReason>> cases{
        {suite, CloseReason::no_common_suite},         {suite13, CloseReason::no_common_suite},
        {group, CloseReason::no_common_group},         {group13, CloseReason::no_common_group},
        {signature, CloseReason::no_common_signature}, {signature13, CloseReason::no_common_signature},
    };
    for (std::size_t i = 0; i < cases.size(); ++i) {
        CAPTURE(i);
        const Outcome refused = first_answer(scene.server_settings, cases.at(i).first);
        CHECK(name(refused.why.reason) == name(cases.at(i).second));
        CHECK(refused.alert == kHandshakeFailure);
        CHECK(refused.sent == kAlertRecord);
    }
}

TEST_CASE("suites come first when several lists have nothing in common")
{
    Scene scene;
    PlainSettings client = scene.plain_client();
    client.newest = kTls12;
    client.ciphers = "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0";
    client.groups = "secp521r1";
    CHECK(first_answer(scene.server_settings, client).why.reason == CloseReason::no_common_suite);
}

TEST_CASE("signatures that our key cannot make are no common ground")
{
    Scene scene;
    PlainSettings client = scene.plain_client();
    client.signatures = "rsa_pkcs1_sha256:rsa_pss_rsae_sha256";
    for (const int version : {kTls12, kTls13}) {
        CAPTURE(version);
        client.oldest = client.newest = version;
        CHECK(first_answer(scene.server_settings, client).why.reason == CloseReason::no_common_signature);
    }
}

TEST_CASE("handshake_failure after the server answered is its judgement of us")
{
    Scene scene;
    scene.client_settings.policy.versions = {"TLS1.2"};
    const std::string alert{"\x15\x03\x03\x00\x02\x02\x28", kAlertRecord};
    const auto early = support::make_engine(scene.client_settings);
    early->start();
    early->receive(support::octets(alert));
    CHECK(early->failure().reason == CloseReason::no_common_suite);

    const auto client = support::make_engine(scene.client_settings);
    const auto server = support::make_engine(scene.server_settings, "");
    client->start();
    server->receive(client->output());
    constexpr std::size_t kHeader = 5;
    const auto flight = server->output();
    const std::size_t hello =
        kHeader + (std::to_integer<std::size_t>(flight[3]) << 8U) + std::to_integer<std::size_t>(flight[4]);
    REQUIRE(client->receive(flight.first(hello)) == EngineState::handshaking);
    client->receive(support::octets(alert));
    CHECK(client->failure().reason == CloseReason::refused_by_peer);
    CHECK(client->failure().text == "alert handshake_failure");
}

TEST_CASE("a server that finds nothing in common is not taken for one that refuses us")
{
    Scene scene;
    PlainSettings server = scene.plain_server();
    server.newest = kTls12;
    server.ciphers = "AES256-SHA:@SECLEVEL=0";
    const Outcome refused = meet(scene.client_settings, server);
    CHECK(refused.why.reason == CloseReason::no_common_suite);
    CHECK(refused.why.text == "alert handshake_failure");
}

TEST_CASE("a framed server refuses a peer without our protocol before it says anything")
{
    Scene scene;
    for (const int version : {kTls12, kTls13}) {
        for (const std::vector<std::string>& offered :
             {std::vector<std::string>{}, {"h2"}, {"ntpgate/2", "ntpgate/"}, {"ntpgate/11"}}) {
            CAPTURE(version);
            PlainSettings client = scene.plain_client();
            client.oldest = client.newest = version;
            client.protocols = offered;
            const Outcome refused = first_answer(scene.server_settings, client);
            CHECK(refused.why.reason == CloseReason::no_alpn);
            CHECK(refused.alert == kNoApplicationProtocol);
            CHECK(refused.sent == kAlertRecord);
        }
        PlainSettings among_others = scene.plain_client();
        among_others.protocols = {"h2", "ntpgate/1"};
        CHECK(meet(scene.server_settings, among_others).state == EngineState::established);
    }
}

TEST_CASE("a raw server refuses a peer that offers any protocol")
{
    Scene scene;
    scene.server_settings.alpn.reset();
    PlainSettings client = scene.plain_client();
    for (const std::vector<std::string>& offered : {std::vector<std::string>{"ntpgate/1"}, {"h2"}}) {
        client.protocols = offered;
        const Outcome refused = first_answer(scene.server_settings, client);
        CHECK(refused.why.reason == CloseReason::unexpected_alpn);
        CHECK(refused.alert == kNoApplicationProtocol);
        CHECK(refused.sent == kAlertRecord);
    }
    client.protocols.clear();
    CHECK(meet(scene.server_settings, client).state == EngineState::established);
}

TEST_CASE("a framed client refuses a server without our protocol, and keeps its certificate to itself")
{
    Scene scene;
    for (const int version : {kTls12, kTls13}) {
        for (const std::vector<std::string>& known : {std::vector<std::string>{}, {"h2"}}) {
            CAPTURE(version);
            PlainSettings server = scene.plain_server();
            server.oldest = server.newest = version;
            server.protocols = known;
            server.asks_certificate = true;
            const Outcome refused = meet(scene.client_settings, server);
            CHECK(refused.state == EngineState::failed);
            CHECK(refused.why.reason == CloseReason::no_alpn);
            CHECK(refused.alert == kHandshakeFailure);
            CHECK_FALSE(refused.saw_certificate);
            server.protocols = {"h2", "ntpgate/1"};
            CHECK(meet(scene.client_settings, server).saw_certificate);
        }
    }
}

TEST_CASE("a raw client offers no protocol")
{
    Scene scene;
    scene.client_settings.alpn.reset();
    CHECK(meet(scene.client_settings, scene.plain_server()).state == EngineState::established);
    // Our own framed server would refuse one that does not offer, so this shows what was offered.
    const auto client = support::make_engine(scene.client_settings);
    const auto server = support::make_engine(scene.server_settings, "");
    support::converse(*client, *server);
    CHECK(server->failure().reason == CloseReason::no_alpn);
    CHECK(client->failure().reason == CloseReason::no_alpn);
    CHECK(client->failure().text == "alert no_application_protocol");
}

TEST_CASE("a host name is sent to the server, an address is not")
{
    Scene scene;
    CHECK(meet(scene.client_settings, scene.plain_server()).server_name == "server.test");
    CHECK(meet(scene.client_settings, scene.plain_server(), "server.test.").server_name == "server.test");
    CHECK(meet(scene.client_settings, scene.plain_server(), "192.0.2.1").server_name.empty());
    CHECK(meet(scene.client_settings, scene.plain_server(), "2001:db8::1").server_name.empty());
}

TEST_CASE("a peer that asks for a new handshake is refused")
{
    Scene scene;
    for (const bool server : {true, false}) {
        CAPTURE(server);
        PlainSettings theirs = server ? scene.plain_server() : scene.plain_client();
        theirs.newest = kTls12;
        PlainTlsPeer peer{theirs};
        const auto engine = support::make_engine(server ? scene.client_settings : scene.server_settings);
        converse(*engine, peer);
        REQUIRE(engine->state() == EngineState::established);
        peer.renegotiate();
        converse(*engine, peer);
        CHECK(engine->state() == EngineState::failed);
        CHECK(engine->failure().reason == CloseReason::renegotiation);
    }
}

TEST_CASE("new keys may come now and then, and not without end")
{
    Scene scene;
    PlainSettings theirs = scene.plain_client();
    theirs.oldest = kTls13;
    PlainTlsPeer peer{theirs};
    const auto engine = support::make_engine(scene.server_settings, "");
    converse(*engine, peer);
    REQUIRE(engine->state() == EngineState::established);
    for (int i = 0; i < 200; ++i) {
        peer.update_keys();
        peer.write("still here");
        engine->receive(peer.take_output());
        REQUIRE(support::read_all(*engine) == std::vector<std::string>{"still here"});
    }
    REQUIRE(engine->send(support::octets("so am I")));
    converse(*engine, peer);
    CHECK(peer.received() == "so am I");
    int updates = 0;
    for (; engine->state() == EngineState::established && updates < 1000; ++updates) {
        peer.update_keys();
        engine->receive(peer.take_output());
        CHECK(support::read_all(*engine).empty());
    }
    CHECK(engine->failure().reason == CloseReason::protocol_error);
    CHECK(updates == 65);
}

TEST_CASE("the alert that a peer refuses us with is named")
{
    Scene scene;
    scene.server_settings.revocation = transports::Revocation::require;
    for (const char* const version : {"TLS1.2", "TLS1.3"}) {
        scene.client_settings.policy.versions = {version};
        const auto client = support::make_engine(scene.client_settings);
        const auto server = support::make_engine(scene.server_settings, "");
        support::converse(*client, *server);
        CHECK(server->failure().reason == CloseReason::revocation_undetermined);
        CHECK(client->failure().reason == CloseReason::refused_by_peer);
        CHECK(client->failure().text == "alert bad_certificate");
    }
}

TEST_SUITE_END();
