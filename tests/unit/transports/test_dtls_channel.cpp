#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/transports/dtls_rig.hpp"

using namespace std::chrono_literals;
using namespace dtls_rig;
using namespace transports;
using support::octets;

TEST_SUITE_BEGIN("dtls_channel");

TEST_CASE("messages keep their borders both ways, one record each")
{
    for (const std::string address : {"127.0.0.1", "::1"}) {
        CAPTURE(address);
        Pair pair{{}, {0, 0, 0, 0}, address};
        pair.server.echo = true;
        pair.connect(address);
        REQUIRE(pair.run_until([&] { return pair.client.channels.size() == 1; }));
        std::vector<std::string> sent;
        for (int i = 0; i < 100; ++i) {
            sent.emplace_back(1 + static_cast<std::size_t>(i) % 120, static_cast<char>('a' + i % 26));
            REQUIRE(pair.client.channels[0]->send(octets(sent.back())) == SendResult::sent);
        }
        REQUIRE(pair.run_until([&] { return pair.client.messages.size() == sent.size(); }));
        CHECK(pair.server.messages == sent);
        CHECK(pair.client.messages == sent);
        CHECK(pair.server.channels[0]->peer().protocol == "DTLS1.2");
        CHECK(pair.server.channels[0]->peer().subject == "CN=the client");
        CHECK(pair.client.channels[0]->peer().matched == "server.test");
        CHECK(pair.client.channels[0]->peer().address == pair.listener->address());
    }
}

TEST_CASE("send and close never call back, and closing comes once, on both sides")
{
    Pair pair;
    REQUIRE(pair.connected());
    Channel& channel = *pair.client.channels[0];
    CHECK(channel.send(octets("last words")) == SendResult::sent);
    channel.close(CloseReason::local_request);
    channel.close(CloseReason::drained);
    CHECK(pair.client.closed.empty());
    CHECK(channel.send(octets("after")) == SendResult::closed);
    REQUIRE(pair.run_until([&] { return pair.server.closed.size() == 1 && pair.client.closed.size() == 1; }));
    CHECK(pair.server.messages == std::vector<std::string>{"last words"});
    CHECK(pair.client.closed[0].reason == CloseReason::local_request);
    CHECK(pair.server.closed[0].reason == CloseReason::peer_closed);
}

TEST_CASE("a channel that is destroyed says so to its peer, also after its listener is gone")
{
    Pair pair;
    REQUIRE(pair.connected());
    SUBCASE("the client's")
    {
        pair.client.channels.clear();
        REQUIRE(pair.run_until([&] { return pair.server.closed.size() == 1; }));
        CHECK(pair.server.closed[0].reason == CloseReason::peer_closed);
    }
    SUBCASE("the server's")
    {
        pair.listener.reset();
        REQUIRE(pair.client.channels[0]->send(octets("still there")) == SendResult::sent);
        REQUIRE(pair.run_until([&] { return pair.server.messages.size() == 1; }));
        pair.server.channels.clear();
        REQUIRE(pair.run_until([&] { return pair.client.closed.size() == 1; }));
        CHECK(pair.client.closed[0].reason == CloseReason::peer_closed);
    }
}

TEST_CASE("a peer that is refused never becomes a channel, and hears why")
{
    Pair pair;
    support::Identity other{support::authority_wish("Other CA"), nullptr};
    const support::Identity stranger{support::client_wish(), &other};
    pair.scene.show(pair.scene.client_settings, stranger);
    pair.connector =
        make_dtls_connector(pair.loop, support::make_context(pair.scene.client_settings), pair.options, "server.test");
    pair.connect();
    REQUIRE(pair.run_until([&] { return pair.server.failed.size() == 1 && pair.client.failed.size() == 1; }));
    CHECK(pair.server.channels.empty());
    CHECK(pair.client.channels.empty());
    CHECK(pair.server.failed[0].reason == CloseReason::unknown_ca);
    CHECK(pair.server.failed[0].peer.subject == "CN=the client");
    CHECK(pair.server.failed[0].peer.address.starts_with("127.0.0.1:"));
    CHECK(pair.client.failed[0].reason == CloseReason::refused_by_peer);
    const ListenerCounters& counters = pair.listener->counters();
    CHECK(counters.accepted == 1);
    CHECK(counters.failed[static_cast<std::size_t>(CloseReason::unknown_ca)] == 1);
    CHECK(counters.pending == 0);
}

TEST_CASE("a far end that says nothing is given up at the connect deadline, one that stalls at the handshake's")
{
    DatagramOptions options;
    options.connect = 60ms;
    options.handshake = 120ms;
    Pair pair{options};
    SUBCASE("silent from the start")
    {
        const int silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        auto address = *numeric_address("127.0.0.1", 0);
        REQUIRE(::bind(silent, as_sockaddr(address), address_length(address)) == 0);
        socklen_t length = sizeof address;
        REQUIRE(getsockname(silent, as_sockaddr(address), &length) == 0);
        pair.attempts.push_back(pair.connector->connect({"127.0.0.1", port_of(address)}, pair.client));
        REQUIRE(pair.run_until([&] { return pair.client.failed.size() == 1; }));
        CHECK(pair.client.failed[0].reason == CloseReason::connect_timeout);
        close(silent);
    }
    SUBCASE("a client that stops after its cookie")
    {
        HandMade stalled{pair};
        stalled.send_at_most = 2;
        REQUIRE(pair.run_until([&] { return pair.server.failed.size() == 1; }));
        CHECK(pair.server.failed[0].reason == CloseReason::handshake_timeout);
        CHECK(pair.listener->counters().pending == 0);
    }
}

TEST_CASE("nobody there is unreachable at once")
{
    Pair pair;
    const std::uint16_t port = pair.port();
    pair.listener.reset();
    pair.attempts.push_back(pair.connector->connect({"127.0.0.1", port}, pair.client));
    REQUIRE(pair.run_until([&] { return pair.client.failed.size() == 1; }));
    CHECK(pair.client.failed[0].reason == CloseReason::unreachable);
    CHECK(pair.client.failed[0].peer.address == "127.0.0.1:" + std::to_string(port));
}

TEST_CASE("a channel whose far end refuses is lost")
{
    Pair pair;
    REQUIRE(pair.connected());
    // The server's side goes without a word: its port closes.
    pair.listener.reset();
    pair.server.channels[0]->close(CloseReason::local_request);
    pair.client.progress = [] {};
    const auto closed = [&] { return pair.client.closed.size() == 1; };
    REQUIRE(pair.run_until(closed));
    CHECK((pair.client.closed[0].reason == CloseReason::peer_closed ||
           pair.client.closed[0].reason == CloseReason::connection_lost));
}

TEST_CASE("an idle channel is closed at its deadline, and forged records do not keep it open")
{
    DatagramOptions options;
    options.idle = 150ms;
    Pair pair{options};
    HandMade peer{pair};
    REQUIRE(pair.run_until([&] { return peer.established() && pair.server.channels.size() == 1; }));
    support::Datagram forged(60, std::byte{0x55});
    const std::vector<int> header{23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 47};
    std::ranges::transform(header, forged.begin(), [](int octet) { return static_cast<std::byte>(octet); });
    Timer forger{pair.loop, [&] {
                     peer.put(forged);
                     forger.start(20ms);
                 }};
    forger.start(20ms);
    REQUIRE(pair.run_until([&] { return pair.server.closed.size() == 1; }));
    forger.stop();
    CHECK(pair.server.closed[0].reason == CloseReason::idle_timeout);
    CHECK(pair.server.count(Discard::bad_record) > 1);
}

TEST_CASE("a client that begins anew on its address takes over once it is verified, and not before")
{
    Pair pair;
    HandMade peer{pair};
    REQUIRE(pair.run_until([&] { return peer.established() && pair.server.channels.size() == 1; }));
    pair.server.echo = true;
    peer.say("first");
    REQUIRE(pair.run_until([&] { return peer.received.size() == 1; }));

    SUBCASE("as far as the cookie only: the old channel stays in use")
    {
        const auto old = std::move(peer.engine);
        peer.send_at_most = 2;
        peer.begin_anew();
        REQUIRE(pair.run_until([&] { return pair.listener->counters().pending == 1; }));
        CHECK(pair.server.channels.size() == 1);
        REQUIRE(old->send(octets("the old one speaks")));
        const auto sealed = old->next_output();
        REQUIRE(sealed);
        peer.put({sealed->begin(), sealed->end()});
        REQUIRE(pair.run_until([&] { return pair.server.messages.size() == 2; }));
        CHECK(pair.server.messages[1] == "the old one speaks");
        CHECK(pair.server.closed.empty());
    }
    SUBCASE("to the end: the old channel is superseded")
    {
        peer.begin_anew();
        REQUIRE(pair.run_until([&] { return peer.established() && pair.server.closed.size() == 1; }));
        CHECK(pair.server.closed[0].reason == CloseReason::superseded);
        REQUIRE(pair.server.channels.size() == 1);
        peer.say("second");
        REQUIRE(pair.run_until([&] { return peer.received.size() == 1; }));
        CHECK(peer.received[0] == "second");
        CHECK(pair.listener->counters().opened == 2);
        CHECK(pair.listener->counters().pending == 0);
    }
}

TEST_CASE("a ClientHello that comes again opens no second handshake")
{
    Pair pair;
    HandMade peer{pair};
    REQUIRE(pair.run_until([&] { return peer.established() && pair.server.channels.size() == 1; }));
    REQUIRE(peer.sent.size() >= 3);
    peer.put(peer.sent[0]);
    peer.put(peer.sent[1]);
    peer.say("after both");
    REQUIRE(pair.run_until([&] { return pair.server.messages.size() == 1; }));
    CHECK(pair.listener->counters().accepted == 1);
    CHECK(pair.server.count(Discard::no_cookie) == 1); // the very first
    CHECK(pair.server.count(Discard::wrong_epoch) == 2);
}

TEST_CASE("replays are told to the handler with the channel they claim, forgeries without a name")
{
    Pair pair;
    HandMade peer{pair};
    REQUIRE(pair.run_until([&] { return peer.established() && pair.server.channels.size() == 1; }));
    peer.say("once");
    REQUIRE(pair.run_until([&] { return pair.server.messages.size() == 1; }));
    peer.put(peer.sent.back());
    REQUIRE(pair.run_until([&] { return pair.server.count(Discard::replay_detected) == 1; }));
    CHECK(pair.server.discarded.back().channel == pair.server.channels[0].get());
    CHECK(pair.server.discarded.back().verified);

    support::Datagram forged = peer.sent.back();
    forged.back() ^= std::byte{1};
    peer.put(forged);
    REQUIRE(pair.run_until([&] { return pair.server.count(Discard::bad_record) == 1; }));
    CHECK(pair.server.count(Discard::replay_detected) == 1);

    // From an address without a channel it is nobody's.
    HandMade stranger{pair, "127.0.0.2"};
    stranger.put(peer.sent.back());
    REQUIRE(pair.run_until([&] { return pair.server.count(Discard::no_association) == 1; }));
    CHECK(pair.server.discarded.back().channel == nullptr);
    stranger.put(support::Datagram(7, std::byte{1}));
    REQUIRE(pair.run_until([&] { return pair.server.count(Discard::not_a_record) == 1; }));
    CHECK(pair.server.messages.size() == 1);
}

TEST_CASE("peers above the limits are turned away after their cookie, and let in when there is room")
{
    SUBCASE("channels")
    {
        Pair pair{{}, {1, 0, 0, 0}};
        HandMade first{pair};
        REQUIRE(pair.run_until([&] { return pair.server.channels.size() == 1; }));
        HandMade second{pair};
        REQUIRE(pair.run_until([&] { return pair.server.failed.size() == 1; }));
        CHECK(pair.server.failed[0].reason == CloseReason::limit_reached);
        CHECK(pair.server.failed[0].text == "channels");
        CHECK(pair.listener->counters().refused[static_cast<std::size_t>(Limit::channels)] == 1);
        pair.server.channels[0]->close(CloseReason::local_request);
        REQUIRE(pair.run_until([&] { return pair.server.closed.size() == 1; }));
        second.begin_anew();
        REQUIRE(pair.run_until([&] { return pair.server.channels.size() == 1 && second.established(); }));
    }
    SUBCASE("half-open")
    {
        Pair pair{{}, {0, 1, 0, 0}};
        HandMade stalled{pair};
        stalled.send_at_most = 2;
        REQUIRE(pair.run_until([&] { return pair.listener->counters().pending == 1; }));
        HandMade second{pair};
        REQUIRE(pair.run_until([&] { return pair.server.failed.size() == 1; }));
        CHECK(pair.server.failed[0].text == "half-open");
    }
    SUBCASE("handshakes per second and source")
    {
        Pair pair{{}, {0, 0, 2, 0}};
        std::vector<std::unique_ptr<HandMade>> many;
        for (int i = 0; i < 6; ++i) {
            many.push_back(std::make_unique<HandMade>(pair));
        }
        REQUIRE(pair.run_until([&] { return pair.server.failed.size() + pair.server.channels.size() == 6; }));
        CHECK(pair.server.failed.size() >= 2); // the second may have changed once meanwhile
        CHECK(pair.server.failed[0].text == "handshakes-per-second-per-source");
    }
}

TEST_CASE("what does not fit the path is refused before it is sealed")
{
    DatagramOptions options;
    options.mtu = 600;
    Pair pair{options};
    REQUIRE(pair.connected());
    const std::size_t room = message_room(600, false);
    CHECK(pair.client.channels[0]->send(octets(std::string(room, 'x'))) == SendResult::sent);
    CHECK(pair.client.channels[0]->send(octets(std::string(600, 'x'))) == SendResult::oversize);
    CHECK(pair.client.channels[0]->send(octets("short")) == SendResult::sent);
    REQUIRE(pair.run_until([&] { return pair.server.messages.size() == 2; }));
    CHECK(pair.server.messages[0].size() == room);
}

TEST_CASE("a stopped listener lets nobody in, and open channels stay")
{
    Pair pair;
    REQUIRE(pair.connected());
    pair.listener->stop();
    HandMade late{pair};
    REQUIRE(pair.run_until([&] { return pair.server.count(Discard::no_association) >= 1; }));
    CHECK(pair.client.channels[0]->send(octets("still here")) == SendResult::sent);
    REQUIRE(pair.run_until([&] { return pair.server.messages.size() == 1; }));
    CHECK_FALSE(late.established());
}

TEST_CASE("an attempt that is dropped calls nobody")
{
    Pair pair;
    pair.connect();
    pair.attempts.clear();
    Timer later{pair.loop, [&] { pair.loop.stop(); }};
    later.start(20ms);
    pair.loop.run();
    CHECK(pair.client.channels.empty());
    CHECK(pair.client.failed.empty());
}

TEST_SUITE_END();
