// The whole product without a socket: a client, both roles, and a daemon whose clock is wrong by a known amount.
#include <cmath>

#include "tests/unit/ntp-shim/client_rig.hpp"
#include "tests/unit/ntp-shim/server_rig.hpp"

using ntp_shim::Framing;
using ntp_shim::stamp_of;
using namespace packets;

namespace {

constexpr Nanoseconds kServerUptime = 77777s;   // the two hosts were started at different times
constexpr Nanoseconds kWallClock = 3950000000s; // the client's clock, seconds since 1900
constexpr double kTick = 1.0 / 4294967296.0;

/// How long each step of one exchange takes, from the client's request to its reply.
struct Journey {
    Nanoseconds waits_for_channel{};
    Nanoseconds way_there = 10ms;
    Nanoseconds server_holds_request{};
    Nanoseconds daemon_works = 100us;
    Nanoseconds server_holds_reply{};
    Nanoseconds way_back = 10ms;
    Nanoseconds client_holds_reply{};
};

/// What an NTP client makes of a reply (RFC 5905 section 8), in seconds.
struct Measured {
    double offset;
    double delay;
};

class World {
public:
    explicit World(Framing framing = Framing::v1, Nanoseconds offset = 5s)
        : daemon_offset(offset), client(framing == Framing::raw ? ClientRig::raw() : ntp_shim::ClientPolicy{}),
          server(framing == Framing::raw ? ServerRig::raw() : ntp_shim::ServerPolicy{})
    {}

    void open()
    {
        client.open(1);
        server.shim.open_channel(1, kServerSeed);
    }
    [[nodiscard]] Octets asks(Nanoseconds t, Octets tail = {}) const
    {
        return packet({.transmit = stamp_of(wall_clock + t), .tail = std::move(tail)});
    }
    [[nodiscard]] Fields daemon_says(Bytes asked, Nanoseconds received, Nanoseconds answered) const
    {
        auto reply = answer_to(asked);
        reply.receive = stamp_of(wall_clock + daemon_offset + received);
        reply.transmit = stamp_of(wall_clock + daemon_offset + answered);
        const auto tail = parse(asked).after_header;
        reply.tail = copy(tail);
        return reply;
    }

    /// One exchange from `t` on; where it ended, or "" for a delivery.
    std::string exchange(Nanoseconds t, const Journey& journey, Octets tail = {})
    {
        const auto asked = asks(t, std::move(tail));
        sent = parse(asked).transmit;
        now = t;
        if (auto word = client.take(asked, now); !word.empty()) {
            return word;
        }
        now += journey.waits_for_channel;
        if (auto word = client.hand_over(now); !word.empty()) {
            return word;
        }
        now += journey.way_there;
        const auto arrived = now;
        now += journey.server_holds_request;
        if (auto word = server.receive(client.message, there(arrived), there(now)); !word.empty()) {
            return word;
        }
        const auto received = now;
        now += journey.daemon_works;
        const auto answered = now;
        const auto reply = packet(daemon_says(server.to_daemon, received, answered));
        now += journey.server_holds_reply;
        if (auto word = server.receive_from_daemon(reply, there(answered), there(now)); !word.empty()) {
            return word;
        }
        now += journey.way_back;
        const auto held = journey.client_holds_reply;
        auto word = client.receive(server.to_channel, now, held);
        now += held;
        return word;
    }
    [[nodiscard]] Measured measured() const
    {
        const auto reply = parse(client.delivered);
        CHECK(reply.origin == sent);
        const auto seconds = [](std::uint64_t later, std::uint64_t earlier) {
            return static_cast<double>(ntp_shim::stamp_difference(later, earlier).count()) * kTick;
        };
        const auto t4 = stamp_of(wall_clock + now);
        return {.offset = (seconds(reply.receive, sent) + seconds(reply.transmit, t4)) / 2,
                .delay = seconds(t4, sent) - seconds(reply.transmit, reply.receive)};
    }
    void tells(double offset, double delay) const
    {
        CHECK(std::abs(measured().offset - offset) < 1e-8);
        CHECK(std::abs(measured().delay - delay) < 1e-8);
    }
    static Nanoseconds there(Nanoseconds t) { return t + kServerUptime; }

    Nanoseconds wall_clock = kWallClock;
    Nanoseconds daemon_offset;
    ClientRig client;
    ServerRig server;
    std::uint64_t sent = 0;
    Nanoseconds now{};
};

constexpr Journey kHeldEverywhere{
    .waits_for_channel = 150ms, .server_holds_request = 40ms, .server_holds_reply = 70ms, .client_holds_reply = 200ms};

} // namespace

TEST_SUITE_BEGIN("shim_pair");

TEST_CASE("the client learns the daemon's offset and the path's delay")
{
    World world;
    world.open();
    REQUIRE(world.exchange(0s, {}).empty());
    world.tells(5.0, 0.020);
}

TEST_CASE("no hold on the way changes either")
{
    World world;
    world.open();
    REQUIRE(world.exchange(0s, kHeldEverywhere).empty());
    world.tells(5.0, 0.020);
}

TEST_CASE("the request that waited 400 ms for the handshake is answered right")
{
    World world;
    REQUIRE(world.client.take(world.asks(0s), 0s, false).empty());
    world.open();
    REQUIRE(world.exchange(0s, {.waits_for_channel = 400ms}).empty()); // newest wins: the same request again
    world.tells(5.0, 0.020);
}

TEST_CASE("a hundred exchanges with every mixture of holds tell the same time")
{
    World world(Framing::v1, -3s);
    world.open();
    for (int number = 0; number < 100; ++number) {
        const auto t = number * 2s;
        REQUIRE(world
                    .exchange(t, {.waits_for_channel = number * 3777777ns,
                                  .server_holds_request = (number % 7) * 1234567ns,
                                  .daemon_works = (number % 11) * 333333ns,
                                  .server_holds_reply = (number % 13) * 7654321ns,
                                  .client_holds_reply = (number % 5) * 13131313ns})
                    .empty());
        world.tells(-3.0, 0.020);
    }
    CHECK(world.client.counters.exchanges.answered == 100);
    CHECK(world.server.counters.exchanges.answered == 100);
}

TEST_CASE("the era of 2036 may begin anywhere in an exchange")
{
    for (int step = 0; step < 60; ++step) {
        World world(Framing::v1, 0s);
        world.wall_clock = std::chrono::seconds{1LL << 32} - step * 10ms - 3us; // no stamp is zero
        world.open();
        REQUIRE(world.exchange(0s, kHeldEverywhere).empty());
        world.tells(0.0, 0.020);
    }
}

TEST_CASE("with raw framing each role corrects its own hold")
{
    World world(Framing::raw);
    world.open();
    REQUIRE(world.exchange(0s, kHeldEverywhere).empty());
    world.tells(5.0, 0.020);
}

TEST_CASE("a raw server corrects for a client role that does not")
{
    World world(Framing::raw);
    world.open();
    REQUIRE(world.exchange(0s, {.server_holds_request = 300ms, .server_holds_reply = 20ms}).empty());
    world.tells(5.0, 0.020);
}

TEST_CASE("a protected packet arrives octet for octet, or not at all")
{
    World world;
    world.open();
    REQUIRE(world.exchange(0s, {.waits_for_channel = 1ms, .server_holds_request = 1ms}, noise(20)).empty());
    CHECK(std::ranges::equal(parse(world.client.delivered).after_header, noise(20)));
    CHECK(parse(world.client.delivered).receive == stamp_of(kWallClock + 5s + 12ms)); // the daemon's own, uncorrected
    CHECK(world.exchange(2s, {.server_holds_request = 6ms}, noise(20)) == "held_too_long");
    CHECK(world.exchange(4s, {.waits_for_channel = 6ms}, noise(20)) == "held_too_long");
}

TEST_CASE("what is later than max-round-trip is never delivered")
{
    World world;
    world.open();
    CHECK(world.exchange(0s, {.way_there = 400ms, .way_back = 500ms}).empty());
    CHECK(world.exchange(2s, {.way_there = 400ms, .way_back = 600ms}) == "too_late");
    CHECK(world.exchange(4s, {.daemon_works = 1001ms}) == "too_late");
    CHECK(world.exchange(6s, {.waits_for_channel = 501ms}) == "too_old");
    CHECK(world.exchange(8s, {.server_holds_request = 501ms}) == "too_old");
    CHECK(world.client.counters.replies.forwarded == 1);
}

TEST_CASE("two clients with the same stamp get their own replies, in any order")
{
    World world;
    world.open();
    const auto asked = world.asks(0s);
    world.client.ask(asked, 0s, endpoint(1111));
    const auto one = world.client.message;
    world.client.ask(asked, 0s, endpoint(2222));
    const auto two = world.client.message;
    for (const auto& [message, port] : {std::pair{two, 2222}, std::pair{one, 1111}}) {
        REQUIRE(world.server.receive(message, 10ms, 0s, 1, static_cast<std::uint64_t>(port)).empty());
        const auto reply = world.daemon_says(world.server.to_daemon, 10ms, 10ms);
        REQUIRE(world.server.answer(reply, 10ms).empty());
        REQUIRE(world.client.receive(world.server.to_channel, 20ms).empty());
        CHECK(world.client.asker == endpoint(static_cast<std::uint16_t>(port)));
        CHECK(parse(world.client.delivered).origin == parse(asked).transmit);
    }
}

TEST_CASE("a repeated frame is neither asked nor answered twice")
{
    World world;
    world.open();
    const auto asked = world.asks(0s);
    world.client.ask(asked, 0s);
    CHECK(world.server.receive(world.client.message, 1ms).empty());
    CHECK(world.server.receive(world.client.message, 1ms) == "duplicate_exchange");
    const auto reply = packet(world.daemon_says(world.server.to_daemon, 1ms, 1ms));
    CHECK(world.server.receive_from_daemon(reply, 2ms).empty());
    CHECK(world.server.receive_from_daemon(reply, 2ms) == "second_reply");
    CHECK(world.client.receive(world.server.to_channel, 3ms).empty());
    CHECK(world.client.receive(world.server.to_channel, 3ms) == "second_reply");
}

TEST_CASE("after a reconnect nothing old arrives")
{
    World world;
    world.open();
    world.client.ask(world.asks(0s), 0s);
    CHECK(world.server.receive(world.client.message, 1ms).empty());
    const auto reply = packet(world.daemon_says(world.server.to_daemon, 1ms, 1ms));
    CHECK(world.server.receive_from_daemon(reply, 2ms).empty());
    const auto old = world.server.to_channel;
    world.client.shim.close_channel(1);
    world.server.shim.close_channel(1);
    world.client.shim.open_channel(1, {.first_id = 900000, .stamp_offset = 1}, at(3ms));
    world.server.shim.open_channel(1, kServerSeed);
    CHECK(world.client.receive(old, 4ms) == "no_exchange");
    CHECK(world.server.receive_from_daemon(reply, 4ms) == "second_reply");
    CHECK(world.exchange(5ms, {}).empty());
    CHECK(world.client.counters.exchanges.abandoned == 1);
}

TEST_CASE("a ping comes back as a pong")
{
    World world;
    world.open();
    CHECK(world.server.receive(world.client.shim.make_ping(1, at(0s)), 1ms).empty());
    CHECK(world.client.receive(world.server.to_channel, 2ms).empty());
    CHECK(world.client.control == ntp_shim::Control::pong);
    CHECK(world.client.receive(world.server.shim.make_goodbye(1, at(0s)), 3ms).empty());
    CHECK(world.client.control == ntp_shim::Control::goodbye);
}

TEST_CASE("every input of a mixed afternoon is accounted for at both ends")
{
    World world;
    world.open();
    int delivered = 0;
    for (int number = 0; number < 500; ++number) {
        const Journey journey{.waits_for_channel = (number % 12) * 50ms,
                              .server_holds_request = (number % 5) * 130ms,
                              .daemon_works = (number % 9) * 40ms,
                              .client_holds_reply = (number % 3) * 260ms};
        delivered += world.exchange(number * 3s, journey, noise(number % 4 == 0 ? 20 : 0)).empty() ? 1 : 0;
        world.client.expire(number * 3s + 2s);
        world.server.expire(World::there(number * 3s + 2s));
    }
    const auto& client = world.client.counters;
    const auto& server = world.server.counters;
    CHECK(delivered > 50);
    CHECK(delivered < 450);
    CHECK(client.requests.received == 500);
    CHECK(client.requests.forwarded == server.requests.received);
    CHECK(server.replies.forwarded == client.replies.received);
    CHECK(client.replies.forwarded == static_cast<std::uint64_t>(delivered));
    CHECK(client.exchanges.open == 0);
    CHECK(server.exchanges.open == 0);
    CHECK(client.exchanges.opened == client.exchanges.answered + client.exchanges.lost);
}

TEST_SUITE_END();
