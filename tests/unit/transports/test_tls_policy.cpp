#include <string>
#include <vector>

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

} // namespace

TEST_SUITE_BEGIN("tls_policy");

TEST_CASE("the server's order of suites decides, not the client's")
{
    Scene scene;
    PlainSettings client = scene.plain_client();
    client.suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
    PlainTlsPeer peer{client};
    const auto engine = support::make_engine(scene.server_settings, "");
    converse(*engine, peer);
    CHECK(engine->peer().suite == "TLS_AES_256_GCM_SHA384");
}

TEST_CASE("a server gives no tickets")
{
    Scene scene;
    for (const int version : {kTls12, kTls13}) {
        CAPTURE(version);
        PlainSettings client = scene.plain_client();
        client.oldest = client.newest = version;
        PlainTlsPeer peer{client};
        const auto engine = support::make_engine(scene.server_settings, "");
        converse(*engine, peer);
        REQUIRE(engine->state() == EngineState::established);
        CHECK_FALSE(peer.was_given_ticket());
    }
}

TEST_CASE("a server sends the chain that is configured, and nothing it could find beside it")
{
    Scene scene;
    const support::Identity between = scene.issue(support::authority_wish("between"));
    const support::Identity leaf{support::server_wish(), &between};
    scene.server_settings.ca = scene.folder.write("both.pem", scene.authority.certificate() + between.certificate());
    scene.show(scene.server_settings, leaf);
    PlainTlsPeer alone{scene.plain_client()};
    const auto without = support::make_engine(scene.server_settings, "");
    converse(*without, alone);
    CHECK(alone.chain_length() == 1);
    scene.show(scene.server_settings, leaf, {&between});
    PlainTlsPeer whole{scene.plain_client()};
    const auto with = support::make_engine(scene.server_settings, "");
    converse(*with, whole);
    CHECK(whole.chain_length() == 2);
}

TEST_CASE("a peer's certificates take 64 KiB at most")
{
    Scene scene;
    for (const std::size_t names : {std::size_t{1200}, std::size_t{1400}}) { // of 50 octets each
        support::Wish wish = support::client_wish();
        for (std::size_t i = 0; i < names; ++i) {
            wish.names.push_back("DNS:" + std::to_string(100'000 + i) + std::string(42, 'x'));
        }
        const support::Identity large = scene.issue(wish);
        PlainSettings client = scene.plain_client();
        client.identity = &large;
        PlainTlsPeer peer{client};
        const auto engine = support::make_engine(scene.server_settings, "");
        converse(*engine, peer);
        if (names == 1200) {
            CHECK(engine->state() == EngineState::established);
        } else {
            CHECK(engine->failure().reason == CloseReason::protocol_error);
        }
    }
}

TEST_CASE("tickets of a server that resumes are borne, and answered by nothing")
{
    Scene scene;
    PlainSettings theirs = scene.plain_server();
    theirs.oldest = kTls13;
    PlainTlsPeer peer{theirs};
    const auto engine = support::make_engine(scene.client_settings);
    converse(*engine, peer);
    CHECK(engine->state() == EngineState::established);
    peer.write("time");
    engine->receive(peer.take_output());
    CHECK(support::read_all(*engine) == std::vector<std::string>{"time"});
    CHECK(engine->output().empty());
}

TEST_CASE("schemes that the policy leaves out are neither used nor accepted")
{
    Scene scene;
    // In TLS 1.2 a P-256 key could sign with SHA-512 as well; only the policy is against it.
    PlainSettings client = scene.plain_client();
    client.newest = kTls12;
    client.signatures = "ecdsa_secp521r1_sha512";
    PlainTlsPeer peer{client};
    const auto engine = support::make_engine(scene.server_settings, "");
    converse(*engine, peer);
    CHECK(engine->failure().reason == CloseReason::no_common_signature);
    scene.server_settings.policy.signatures.emplace_back("ecdsa_secp521r1_sha512");
    PlainTlsPeer again{client};
    const auto willing = support::make_engine(scene.server_settings, "");
    converse(*willing, again);
    CHECK(willing->state() == EngineState::established);
}

TEST_SUITE_END();
