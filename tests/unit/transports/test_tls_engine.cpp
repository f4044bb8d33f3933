#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/engine_pair.hpp"
#include "transports/tls_engine.hpp"

using support::converse;
using support::make_engine;
using support::octets;
using support::read_all;
using support::Scene;
using transports::CloseReason;
using transports::EngineState;
using transports::TlsEngine;

namespace {

std::vector<std::byte> take(TlsEngine& engine)
{
    std::vector<std::byte> wire{engine.output().begin(), engine.output().end()};
    engine.consume_output(wire.size());
    return wire;
}

/// Both ends, established.
struct Pair {
    explicit Pair(const Scene& scene)
        : client{make_engine(scene.client_settings)}, server{make_engine(scene.server_settings, "")}
    {
        converse(*client, *server);
        REQUIRE(client->state() == EngineState::established);
        REQUIRE(server->state() == EngineState::established);
    }
    std::unique_ptr<TlsEngine> client;
    std::unique_ptr<TlsEngine> server;
};

} // namespace

TEST_SUITE_BEGIN("tls_engine");

TEST_CASE("two engines agree, know each other, and carry records both ways")
{
    for (const std::string version : {"TLS1.3", "TLS1.2"}) {
        CAPTURE(version);
        Scene scene;
        scene.client_settings.policy.versions = {version};
        Pair pair{scene};
        CHECK(pair.client->peer().protocol == version);
        CHECK(pair.client->peer().suite ==
              (version == "TLS1.3" ? "TLS_AES_256_GCM_SHA384" : "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"));
        CHECK(pair.client->peer().subject == "CN=the server");
        CHECK(pair.client->peer().issuer == "CN=the authority");
        CHECK(pair.client->peer().serial == scene.server.serial());
        CHECK(pair.client->peer().fingerprint.size() == 64);
        CHECK(pair.client->peer().names ==
              std::vector<std::string>{"DNS:server.test", "IP:192.0.2.1", "IP:2001:db8::1"});
        CHECK(pair.client->peer().matched == "server.test");
        CHECK(pair.server->peer().subject == "CN=the client");
        CHECK(pair.server->peer().matched.empty());

        REQUIRE(pair.client->send(octets("what time is it")));
        REQUIRE(pair.server->send(octets("late")));
        const auto delivered = converse(*pair.client, *pair.server);
        CHECK(delivered.to_server == std::vector<std::string>{"what time is it"});
        CHECK(delivered.to_client == std::vector<std::string>{"late"});
    }
}

TEST_CASE("records stay apart and in order, however the wire is cut")
{
    Scene scene;
    for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{65536}}) {
        CAPTURE(step);
        Pair pair{scene};
        const std::vector<std::string> sent{"a", std::string(48, 'b'), std::string(16384, 'c'), "d"};
        for (const std::string& text : sent) {
            REQUIRE(pair.client->send(octets(text)));
        }
        CHECK(converse(*pair.client, *pair.server, step).to_server == sent);
    }
}

TEST_CASE("a handshake may come in single octets")
{
    Scene scene;
    const auto client = make_engine(scene.client_settings);
    const auto server = make_engine(scene.server_settings, "");
    converse(*client, *server, 1);
    CHECK(client->state() == EngineState::established);
    CHECK(server->state() == EngineState::established);
}

TEST_CASE("nothing of the application moves before the peer is verified")
{
    Scene scene;
    const auto client = make_engine(scene.client_settings);
    const auto server = make_engine(scene.server_settings, "");
    CHECK_FALSE(client->send(octets("early")));
    CHECK(client->output().empty());
    client->start();
    CHECK_FALSE(client->output().empty());
    CHECK_FALSE(client->send(octets("early")));
    CHECK_FALSE(server->send(octets("early")));
    CHECK(server->receive(take(*client)) == EngineState::handshaking);
    CHECK_FALSE(server->send(octets("half a round trip early")));
    CHECK_FALSE(server->next_record());
    CHECK_FALSE(client->next_record());
}

TEST_CASE("one record takes 1 to 16384 octets")
{
    Scene scene;
    Pair pair{scene};
    CHECK_FALSE(pair.client->send({}));
    CHECK_FALSE(pair.client->send(octets(std::string(16385, 'x'))));
    CHECK(pair.client->output().empty());
    CHECK(pair.client->send(octets(std::string(16384, 'x'))));
    CHECK(pair.client->state() == EngineState::established);
}

TEST_CASE("an orderly end goes through ended to closed, and the half that is open still carries")
{
    Scene scene;
    Pair pair{scene};
    pair.client->shutdown();
    CHECK_FALSE(pair.client->send(octets("after the end")));
    CHECK(pair.client->state() == EngineState::established);
    converse(*pair.client, *pair.server);
    CHECK(pair.server->state() == EngineState::ended);
    REQUIRE(pair.server->send(octets("the last answer")));
    CHECK(converse(*pair.client, *pair.server).to_client == std::vector<std::string>{"the last answer"});
    pair.server->shutdown();
    CHECK(pair.server->state() == EngineState::closed);
    converse(*pair.client, *pair.server);
    CHECK(pair.client->state() == EngineState::closed);
    CHECK_FALSE(pair.server->send(octets("too late")));
}

TEST_CASE("what follows the peer's close_notify is not looked at")
{
    Scene scene;
    Pair pair{scene};
    REQUIRE(pair.client->send(octets("counts")));
    pair.client->shutdown();
    auto wire = take(*pair.client);
    wire.insert(wire.end(), 64, std::byte{0xFF});
    pair.server->receive(wire);
    CHECK(read_all(*pair.server) == std::vector<std::string>{"counts"});
    CHECK(pair.server->state() == EngineState::ended);
    CHECK(pair.server->receive(std::span{wire}.first(3)) == EngineState::ended);
    CHECK_FALSE(pair.server->buffering());
    CHECK_FALSE(pair.server->next_record());
}

TEST_CASE("what is not TLS is a protocol_error at once")
{
    Scene scene;
    for (const std::string text : {"GET / HTTP/1.0\r\n\r\n", "SSH-2.0-OpenSSH_9.2p1\r\n",
                                   "\x16\x03\x01\xff\xff and more than a record may hold"}) {
        CAPTURE(text);
        const auto server = make_engine(scene.server_settings, "");
        CHECK(server->receive(octets(text)) == EngineState::failed);
        CHECK(server->failure().reason == CloseReason::protocol_error);
        CHECK_FALSE(server->failure().text.empty());
        CHECK(server->receive(octets(text)) == EngineState::failed);
        const auto client = make_engine(scene.client_settings);
        client->start();
        CHECK(client->receive(octets(text)) == EngineState::failed);
        CHECK(client->failure().reason == CloseReason::protocol_error);
    }
}

TEST_CASE("a broken octet in a record ends the session, with an alert and without a record")
{
    Scene scene;
    Pair pair{scene};
    REQUIRE(pair.client->send(octets("genuine")));
    REQUIRE(pair.client->send(octets("spoilt")));
    auto wire = take(*pair.client);
    wire.back() ^= std::byte{1};
    pair.server->receive(wire);
    CHECK(read_all(*pair.server) == std::vector<std::string>{"genuine"});
    CHECK(pair.server->state() == EngineState::failed);
    CHECK(pair.server->failure().reason == CloseReason::protocol_error);
    REQUIRE_FALSE(pair.server->output().empty());
    CHECK_FALSE(pair.server->send(octets("no more")));
    converse(*pair.client, *pair.server);
    CHECK(pair.client->state() == EngineState::failed);
    CHECK(pair.client->failure().reason == CloseReason::refused_by_peer);
    CHECK(pair.client->failure().text == "alert bad_record_mac");
}

TEST_CASE("a repeated or missing record ends the session")
{
    Scene scene;
    for (const bool repeat : {true, false}) {
        CAPTURE(repeat);
        Pair pair{scene};
        REQUIRE(pair.client->send(octets("one")));
        const auto first = take(*pair.client);
        REQUIRE(pair.client->send(octets("two")));
        const auto second = take(*pair.client);
        pair.server->receive(repeat ? first : second);
        const auto read = read_all(*pair.server);
        CHECK(read == (repeat ? std::vector<std::string>{"one"} : std::vector<std::string>{}));
        pair.server->receive(first);
        CHECK(read_all(*pair.server).empty());
        CHECK(pair.server->state() == EngineState::failed);
    }
}

TEST_CASE("buffering says whether a record is partly there")
{
    Scene scene;
    Pair pair{scene};
    REQUIRE(pair.client->send(octets("in two parts")));
    const auto wire = take(*pair.client);
    CHECK_FALSE(pair.server->buffering());
    for (std::size_t i = 0; i + 1 < wire.size(); ++i) {
        pair.server->receive(std::span{wire}.subspan(i, 1));
        CHECK_FALSE(pair.server->next_record());
        CHECK(pair.server->buffering());
    }
    pair.server->receive(std::span{wire}.last(1));
    CHECK(pair.server->next_record());
    CHECK_FALSE(pair.server->buffering());
}

TEST_CASE("a peer that never finishes costs one record, and stays unfinished")
{
    Scene scene;
    const auto client = make_engine(scene.client_settings);
    client->start();
    const auto hello = take(*client);
    const auto server = make_engine(scene.server_settings, "");
    CHECK(server->receive(std::span{hello}.first(hello.size() - 1)) == EngineState::handshaking);
    CHECK(server->output().empty());
    CHECK(server->buffering());
    CHECK_FALSE(server->next_record());
}

TEST_CASE("input that nobody reads is refused before it grows without end")
{
    Scene scene;
    Pair pair{scene};
    const std::string text(16384, 'x');
    std::size_t fed = 0;
    while (pair.server->state() == EngineState::established && fed < 10'000'000) {
        REQUIRE(pair.client->send(octets(text)));
        const auto wire = take(*pair.client);
        fed += wire.size();
        pair.server->receive(wire);
    }
    CHECK(pair.server->state() == EngineState::failed);
    CHECK(fed < 150'000);
}

TEST_CASE("close_notify instead of a handshake is the peer's end")
{
    Scene scene;
    const auto client = make_engine(scene.client_settings);
    client->start();
    const std::string close_notify{"\x15\x03\x03\x00\x02\x01\x00", 7};
    CHECK(client->receive(octets(close_notify)) == EngineState::failed);
    CHECK(client->failure().reason == CloseReason::peer_closed);
}

TEST_CASE("in TLS 1.3 a client is established first, and fails when the server then refuses it")
{
    Scene scene;
    scene.server_settings.allow = {"DNS:other.test"};
    const auto client = make_engine(scene.client_settings);
    const auto server = make_engine(scene.server_settings, "");
    client->start();
    server->receive(take(*client));
    CHECK(client->receive(take(*server)) == EngineState::established);
    CHECK(server->receive(take(*client)) == EngineState::failed);
    CHECK(server->failure().reason == CloseReason::not_on_allow_list);
    client->receive(take(*server));
    CHECK_FALSE(client->next_record());
    CHECK(client->state() == EngineState::failed);
    CHECK(client->failure().reason == CloseReason::refused_by_peer);
    CHECK(client->failure().text == "alert bad_certificate");
}

TEST_CASE("valid_until is the earlier end of both certificates")
{
    Scene scene;
    support::Wish wish = support::client_wish();
    wish.ends = std::chrono::hours{2};
    scene.show(scene.client_settings, scene.issue(wish));
    Pair pair{scene};
    const auto now = transports::read_wall();
    for (TlsEngine* const engine : {pair.client.get(), pair.server.get()}) {
        CHECK(engine->peer().valid_until > now + std::chrono::minutes{118});
        CHECK(engine->peer().valid_until < now + std::chrono::minutes{122});
    }
}

TEST_CASE("output may be taken in parts")
{
    Scene scene;
    const auto client = make_engine(scene.client_settings);
    client->start();
    const std::vector<std::byte> whole{client->output().begin(), client->output().end()};
    client->consume_output(10);
    CHECK(std::ranges::equal(client->output(), std::span{whole}.subspan(10)));
    client->consume_output(whole.size());
    CHECK(client->output().empty());
}

TEST_SUITE_END();
