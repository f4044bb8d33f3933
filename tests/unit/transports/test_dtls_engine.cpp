#include <map>
#include <random>

#include <doctest/doctest.h>

#include "tests/support/datagram_pair.hpp"
#include "tests/support/wall_clock.hpp"
#include "transports/dtls_record.hpp"

using namespace std::chrono_literals;
using namespace transports;
using support::Datagram;
using support::DatagramPair;
using support::DatagramScene;
using support::Towards;

namespace {

std::uint64_t discards(const DtlsEngine& engine, Discard why)
{
    return engine.discards().by_reason.at(static_cast<std::size_t>(why));
}

std::uint64_t all_discards(const DtlsEngine& engine)
{
    std::uint64_t sum = 0;
    for (const std::uint64_t count : engine.discards().by_reason) {
        sum += count;
    }
    return sum;
}

bool talk(DatagramPair& pair)
{
    const std::size_t to_client = pair.to_client.size();
    const std::size_t to_server = pair.to_server.size();
    const bool sent = pair.say(Towards::server, "what time is it") && pair.say(Towards::client, "late");
    pair.run(5s);
    return sent && pair.to_server.size() == to_server + 1 && pair.to_client.size() == to_client + 1 &&
           pair.to_server.back() == "what time is it" && pair.to_client.back() == "late";
}

void set_number(Datagram& record, std::uint64_t number)
{
    for (std::size_t at = 10; at > 4; --at) {
        record[at] = static_cast<std::byte>(number & 0xFFU);
        number >>= 8U;
    }
}

} // namespace

TEST_SUITE_BEGIN("dtls_engine");

TEST_CASE("two engines agree, know each other, and carry messages both ways")
{
    DatagramScene scene;
    DatagramPair pair{scene};
    REQUIRE(pair.agree());
    CHECK(pair.client->peer().protocol == "DTLS1.2");
    CHECK(pair.client->peer().suite == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    CHECK(pair.client->peer().subject == "CN=the server");
    CHECK(pair.client->peer().matched == "server.test");
    CHECK(pair.client->peer().fingerprint.size() == 64);
    CHECK(pair.server->peer().subject == "CN=the client");
    CHECK(talk(pair));
    CHECK(all_discards(*pair.client) + all_discards(*pair.server) == 0);
}

TEST_CASE("the handshake survives whatever happens to any one of its datagrams")
{
    DatagramScene scene;
    DatagramPair whole{scene};
    REQUIRE(whole.agree());
    const std::map<std::string, std::vector<Nanoseconds>> fates{{"lost", {}},
                                                                {"twice", {0ms, 0ms}},
                                                                {"twice, apart", {0ms, 250ms}},
                                                                {"behind others", {30ms}},
                                                                {"late", {900ms}}};
    for (const Towards to : {Towards::client, Towards::server}) {
        const std::size_t count = to == Towards::client ? whole.sent_to_client.size() : whole.sent_to_server.size();
        REQUIRE(count >= 2);
        for (std::size_t spoilt = 0; spoilt < count; ++spoilt) {
            for (const auto& fate : fates) {
                CAPTURE(static_cast<int>(to));
                CAPTURE(spoilt);
                CAPTURE(fate.first);
                DatagramPair pair{scene, [&](Towards towards, std::size_t index, const Datagram&) {
                                      return towards == to && index == spoilt ? fate.second
                                                                              : std::vector<Nanoseconds>{0ms};
                                  }};
                CHECK(pair.agree());
                pair.run(2s);
                CHECK(talk(pair));
            }
        }
    }
}

TEST_CASE(
    "the first datagram that is lost is sent again after 100 ms, then after twice as long, up to the longest wait")
{
    DatagramScene scene;
    DatagramPair pair{scene, [](Towards, std::size_t, const Datagram&) { return std::vector<Nanoseconds>{}; }};
    const Nanoseconds begun = pair.now;
    pair.start();
    std::vector<Nanoseconds> due;
    while (due.size() < 6) {
        REQUIRE(pair.client->deadline());
        due.push_back(*pair.client->deadline() - begun);
        const std::size_t sent = pair.sent_to_server.size();
        pair.run(*pair.client->deadline() - pair.now - 1ns);
        CHECK(pair.sent_to_server.size() == sent);
        pair.run(1ns);
        CHECK(pair.sent_to_server.size() == sent + 1);
    }
    CHECK(due == std::vector<Nanoseconds>{100ms, 300ms, 700ms, 1500ms, 2300ms, 3100ms});
}

TEST_CASE("a step of the wall clock changes nothing, at whatever moment of the handshake or the traffic it comes")
{
    using Times = std::vector<std::pair<Nanoseconds, std::size_t>>;
    // What leaves the client, and when, though the first two of its datagrams and of the server's are lost.
    const auto play = [](std::chrono::seconds before, std::chrono::seconds after, std::size_t at) {
        DatagramScene scene;
        support::SteppedWallClock wall{before};
        Times times;
        Nanoseconds begun{};
        DatagramPair* running = nullptr;
        DatagramPair pair{scene, [&](Towards to, std::size_t index, const Datagram&) {
                              times.emplace_back(running->now - begun, static_cast<std::size_t>(to));
                              if (times.size() == at) {
                                  wall.step(after);
                              }
                              return index < 2 ? std::vector<Nanoseconds>{} : std::vector<Nanoseconds>{5ms};
                          }};
        running = &pair;
        begun = pair.now;
        CHECK(pair.agree());
        CHECK(talk(pair));
        return times;
    };
    const unsigned long readings = support::wall_clock_readings();
    const Times still = play(0s, 0s, 0);
    CHECK(support::wall_clock_readings() > readings); // or this test steps a clock that nobody reads
    REQUIRE(still.size() > 6);
    for (const auto step : {std::chrono::seconds{1h}, std::chrono::seconds{-1h}, std::chrono::seconds{24h * 3650}}) {
        for (std::size_t at = 1; at <= still.size(); ++at) {
            CAPTURE(step.count());
            CAPTURE(at);
            CHECK(play(0s, step, at) == still);
        }
    }
    // A machine that begins in 1970, or before it.
    const auto epoch = -std::chrono::duration_cast<std::chrono::seconds>(read_wall());
    for (const auto begin : {epoch, epoch - 1s, epoch - 10h}) {
        CHECK(play(begin, 0s, 3) == still);
    }
}

TEST_CASE("the handshake completes though a fifth of all datagrams is lost")
{
    DatagramScene scene;
    int agreed = 0;
    constexpr int kTries = 40;
    for (unsigned seed = 1; seed <= kTries; ++seed) {
        std::mt19937 random{seed};
        DatagramPair pair{scene, [&](Towards, std::size_t, const Datagram&) {
                              return random() % 5 == 0 ? std::vector<Nanoseconds>{} : std::vector<Nanoseconds>{10ms};
                          }};
        agreed += pair.agree() ? 1 : 0;
    }
    CHECK(agreed == kTries);
}

TEST_CASE("a client that loses our last flight gets it again though we are established")
{
    DatagramScene scene;
    std::size_t lost = 0;
    DatagramPair pair{scene, [&](Towards to, std::size_t index, const Datagram&) {
                          const bool last_flight = to == Towards::client && index >= 2 && lost < 3;
                          lost += last_flight ? 1U : 0U;
                          return last_flight ? std::vector<Nanoseconds>{} : std::vector<Nanoseconds>{0ms};
                      }};
    CHECK(pair.agree());
    CHECK(lost == 3);
    CHECK(talk(pair));
}

TEST_CASE("a replayed record is known for what it is, also when others came in between")
{
    DatagramScene scene;
    DatagramPair pair{scene};
    REQUIRE(pair.agree());
    REQUIRE(talk(pair));
    const std::vector<Datagram> captured_to_server = pair.sent_to_server;
    const Datagram captured_to_client = pair.sent_to_client.back();
    for (int i = 0; i < 63; ++i) {
        REQUIRE(pair.say(Towards::server, "more"));
    }
    pair.run(1s);
    REQUIRE(pair.to_server.size() == 64);
    pair.inject(Towards::server, captured_to_server.back());
    pair.inject(Towards::client, captured_to_client);
    CHECK(pair.to_server.size() == 64);
    CHECK(pair.to_client.size() == 1);
    CHECK(discards(*pair.server, Discard::replay_detected) == 1);
    CHECK(discards(*pair.client, Discard::replay_detected) == 1);
    CHECK(pair.server->discards().unverified_replays == 0);

    // One more, and the number has left the window: nobody can say any longer what it was.
    REQUIRE(pair.say(Towards::server, "more"));
    pair.run(1s);
    pair.inject(Towards::server, captured_to_server.back());
    CHECK(discards(*pair.server, Discard::replay_detected) == 2);
    CHECK(pair.server->discards().unverified_replays == 1);

    // The handshake of the capture does nothing to an association that is past it.
    for (const Datagram& datagram : captured_to_server) {
        pair.inject(Towards::server, datagram);
    }
    CHECK(pair.server->state() == EngineState::established);
    CHECK(talk(pair));
}

TEST_CASE("a forger neither names a victim nor pushes the window past true records")
{
    DatagramScene scene;
    DatagramPair pair{scene};
    REQUIRE(pair.agree());
    REQUIRE(talk(pair));
    const Datagram sealed = pair.sent_to_server.back();
    const auto before = discards(*pair.server, Discard::bad_record);

    Datagram forged = sealed; // the same number, another content
    forged.back() ^= std::byte{1};
    pair.inject(Towards::server, forged);
    CHECK(discards(*pair.server, Discard::replay_detected) == 0);
    CHECK(discards(*pair.server, Discard::bad_record) == before + 1);

    forged = sealed; // far ahead: true records would fall out of a window that believed it
    set_number(forged, 1'000'000);
    pair.inject(Towards::server, forged);
    pair.inject(Towards::server, forged); // and a forgery that is repeated is still not a replay
    CHECK(discards(*pair.server, Discard::replay_detected) == 0);
    CHECK(discards(*pair.server, Discard::bad_record) == before + 3);
    CHECK(talk(pair));
    CHECK(discards(*pair.server, Discard::replay_detected) == 0);
}

TEST_CASE("a forgery behind a message in one datagram is not taken for authentic because the message was answered")
{
    DatagramScene scene;
    DatagramPair pair{scene};
    REQUIRE(pair.agree());
    REQUIRE(talk(pair));
    REQUIRE(pair.client->send(support::octets("ask")));
    const auto sealed = pair.client->next_output();
    REQUIRE(sealed);
    Datagram datagram{sealed->begin(), sealed->end()};
    Datagram forged = datagram;
    set_number(forged, 5000);
    datagram.insert(datagram.end(), forged.begin(), forged.end());
    pair.server->receive(datagram, pair.now);
    REQUIRE(pair.server->next_message());
    REQUIRE(pair.server->send(support::octets("answer"))); // waits to be collected
    CHECK_FALSE(pair.server->next_message());
    CHECK(discards(*pair.server, Discard::bad_record) == 1);
    pair.run(0s);
    CHECK(talk(pair));
}

TEST_CASE("what is cut short or no record is counted, and the records before it count")
{
    DatagramScene scene;
    DatagramPair pair{scene};
    REQUIRE(pair.agree());
    REQUIRE(pair.client->send(support::octets("whole")));
    const auto sealed = pair.client->next_output();
    REQUIRE(sealed);
    Datagram datagram{sealed->begin(), sealed->end()};
    datagram.push_back(std::byte{23});
    pair.inject(Towards::server, datagram);
    CHECK(pair.to_server == std::vector<std::string>{"whole"});
    CHECK(discards(*pair.server, Discard::not_a_record) == 1);
}

TEST_CASE("a message is as long as the path carries in one record, and no longer")
{
    DatagramScene scene;
    DatagramPair pair{scene, {}, 600};
    REQUIRE(pair.agree());
    const std::size_t room = pair.client->max_message();
    CHECK(room == 600 - 28 - 13 - 8 - 16);
    CHECK(pair.say(Towards::server, std::string(room, 'x')));
    CHECK_FALSE(pair.say(Towards::server, std::string(room + 1, 'x')));
    CHECK(pair.client->state() == EngineState::established);
    for (const auto& sent : {pair.sent_to_client, pair.sent_to_server}) {
        for (const Datagram& datagram : sent) {
            CHECK(datagram.size() <= 600 - 28);
        }
    }
    CHECK(pair.sent_to_server.back().size() == 600 - 28);
}

TEST_CASE("close_notify ends the peer")
{
    DatagramScene scene;
    DatagramPair pair{scene};
    REQUIRE(pair.agree());
    pair.client->shutdown();
    CHECK_FALSE(pair.client->send(support::octets("after")));
    pair.run(1s);
    CHECK(pair.server->state() == EngineState::ended);
}

TEST_CASE("a peer that the other does not accept is told so and named")
{
    DatagramScene scene;
    support::Wish wish = support::client_wish();
    wish.usage = "serverAuth";
    const support::Identity wrong = scene.issue(wish);
    scene.show(scene.client_settings, wrong);
    // Its own check would stop our client; a plain context takes the certificate as it is.
    CHECK_FALSE(support::problems_of(scene.client_settings).empty());

    DatagramScene strict;
    strict.server_settings.allow = {"DNS:somebody.else"};
    DatagramPair pair{strict};
    CHECK_FALSE(pair.agree());
    CHECK(pair.server->failure().reason == CloseReason::not_on_allow_list);
    CHECK(pair.server->peer().subject == "CN=the client");
    CHECK(pair.client->failure().reason == CloseReason::refused_by_peer);
}

TEST_CASE("a ClientHello without a cookie costs a server nothing but a short answer")
{
    DatagramScene scene;
    DatagramPair pair{scene};
    pair.client->start(pair.now);
    const auto hello = pair.client->next_output();
    REQUIRE(hello);
    DtlsCookies cookies;
    for (int i = 0; i < 3; ++i) {
        CHECK_FALSE(pair.server->listen(*hello, cookies));
        const auto answer = pair.server->next_output();
        REQUIRE(answer);
        CHECK(answer->size() < hello->size());
        CHECK_FALSE(pair.server->next_output());
    }
    const Datagram garbage(100, std::byte{22});
    CHECK_FALSE(pair.server->listen(garbage, cookies));
    CHECK_FALSE(pair.server->next_output());
    CHECK(pair.server->state() == EngineState::handshaking);
    CHECK_FALSE(pair.server->deadline());
}

TEST_CASE("only the cookies of the peer at hand are accepted, and every octet of them counts")
{
    DatagramScene scene;
    DtlsCookies given;
    given.current.fill(7);
    const auto try_with = [&](const DtlsCookies& expected) {
        auto client = support::make_dtls_engine(scene.client_settings);
        auto server = support::make_dtls_engine(scene.server_settings);
        client->start(1s);
        CHECK_FALSE(server->listen(*client->next_output(), given));
        client->receive(*server->next_output(), 1s);
        CHECK_FALSE(client->next_message());
        return server->listen(*client->next_output(), expected);
    };
    CHECK(try_with(given));
    DtlsCookies rotated;
    rotated.current.fill(9);
    rotated.previous = given.current;
    CHECK(try_with(rotated));
    DtlsCookies other = given;
    other.current.back() ^= 1U;
    other.previous.fill(3);
    CHECK_FALSE(try_with(other));
}

TEST_SUITE_END();
