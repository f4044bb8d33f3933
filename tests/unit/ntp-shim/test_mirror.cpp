#include "ntp-shim/mirror.hpp"

#include "ntp-shim/clock_reply.hpp"
#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::ClockPair;
using ntp_shim::Mirror;
using ntp_shim::MirrorFault;
using ntp_shim::Nanoseconds;
using ntp_shim::ntp_timestamp;
using namespace packets;

namespace {

constexpr Nanoseconds kStart = 1'800'000'000s; // wall clock

ClockPair clocks(Nanoseconds t, Nanoseconds stepped = 0s)
{
    return {.wall = kStart + t + stepped, .raw = 1000s + t};
}

struct World {
    Nanoseconds offset{};  // daemon minus system clock
    Nanoseconds stepped{}; // of the system clock, since the start
    std::uint8_t leap = 0;
    std::uint8_t stratum = 2;
};

/// A poll at `t` whose reply took 100 us each way.
void poll(Mirror& mirror, Nanoseconds t, const World& world = {})
{
    const auto sent = kStart + t + world.stepped;
    const auto reply = packet({.leap = world.leap,
                               .mode = 4,
                               .stratum = world.stratum,
                               .reference_id = 0x0a000001,
                               .receive = ntp_timestamp(sent + 100us + world.offset),
                               .transmit = ntp_timestamp(sent + 100us + world.offset)});
    mirror.on_poll({.reply = reply, .sent_wall = sent, .received = clocks(t + 200us, world.stepped)});
}

Mirror answering()
{
    Mirror mirror{{}};
    for (int count = 0; count < 3; ++count) {
        poll(mirror, count * 2s);
    }
    REQUIRE_FALSE(mirror.fault().has_value());
    return mirror;
}

std::optional<std::array<std::byte, 48>> ask(const Mirror& mirror, Nanoseconds t = 5s, Nanoseconds took = 20us)
{
    const auto asked = request({.version = 3, .poll = 9});
    return mirror.answer({.request = asked,
                          .receive = ntp_timestamp(kStart + t),
                          .transmit = ntp_timestamp(kStart + t + took),
                          .raw = 1000s + t});
}

} // namespace

TEST_SUITE_BEGIN("mirror");

TEST_CASE("it answers after three good polls, and not before")
{
    Mirror mirror{{}};
    CHECK(mirror.fault() == MirrorFault::starting);
    poll(mirror, 0s);
    poll(mirror, 2s);
    CHECK_FALSE(ask(mirror).has_value());
    poll(mirror, 4s);
    CHECK(ask(mirror).has_value());
}

TEST_CASE("the answer has the daemon's header, the request's version, poll and stamp, and our own two stamps")
{
    const auto answer = ask(answering());
    REQUIRE(answer.has_value());
    const auto packet = parse(*answer);
    CHECK(packet.version == 3);
    CHECK(packet.mode == 4);
    CHECK(packet.leap == 0);
    CHECK(packet.stratum == 2);
    CHECK(packet.poll == 9);
    CHECK(packet.reference_id == 0x0a000001);
    CHECK(packet.origin == kT1);
    CHECK(packet.receive == ntp_timestamp(kStart + 5s));
    CHECK(packet.transmit == ntp_timestamp(kStart + 5s + 20us));
}

TEST_CASE("root dispersion grows by the difference of the clocks and by 15 ppm of the poll's age")
{
    Mirror mirror{{}};
    for (int count = 0; count < 3; ++count) {
        poll(mirror, count * 2s, {.offset = 500us});
    }
    const auto dispersion = [&](Nanoseconds t) {
        const auto answer = ask(mirror, t);
        REQUIRE(answer.has_value());
        return ntp_shim::ByteReader(Bytes{*answer}.subspan(8)).u32();
    };
    constexpr std::uint32_t kDaemons = 0x200;
    CHECK(dispersion(4s + 200us) - kDaemons >= 500 * 65536 / 1'000'000);
    CHECK(dispersion(4s + 200us) - kDaemons <= 502 * 65536 / 1'000'000 + 1);
    CHECK(dispersion(1004s) - dispersion(4s + 200us) >= 14'900 * 65536LL / 1'000'000);
    CHECK(dispersion(1004s) - dispersion(4s + 200us) <= 15'100 * 65536LL / 1'000'000);
}

TEST_CASE("a daemon that serves another time than the system clock stops it, until three good polls")
{
    auto mirror = answering();
    poll(mirror, 6s, {.offset = 1ms});
    CHECK(ask(mirror).has_value());
    for (const auto offset : {1101us, -1101us}) { // known to 100 us
        poll(mirror, 8s, {.offset = offset});
        CHECK(mirror.fault() == MirrorFault::offset);
        CHECK_FALSE(ask(mirror).has_value());
    }
    poll(mirror, 10s);
    poll(mirror, 12s);
    CHECK_FALSE(ask(mirror).has_value());
    poll(mirror, 14s);
    CHECK(ask(mirror).has_value());
}

TEST_CASE("a daemon that is not synchronised, or sends a kiss or nonsense, stops it at once")
{
    const World bad[] = {{.leap = 3}, {.stratum = 0}, {.stratum = 16}};
    for (const auto& world : bad) {
        auto mirror = answering();
        poll(mirror, 6s, world);
        CHECK(mirror.fault() == MirrorFault::unsynchronised);
    }
    auto mirror = answering();
    mirror.on_poll({.reply = zeros(47), .sent_wall = kStart + 6s, .received = clocks(6s)});
    CHECK(mirror.fault() == MirrorFault::unsynchronised);
}

TEST_CASE("five missed polls in a row stop it, four do not")
{
    auto mirror = answering();
    for (int count = 0; count < 4; ++count) {
        mirror.on_missed();
    }
    poll(mirror, 14s);
    for (int count = 0; count < 4; ++count) {
        mirror.on_missed();
    }
    CHECK(ask(mirror).has_value());
    mirror.on_missed();
    CHECK(mirror.fault() == MirrorFault::missed);
    CHECK_FALSE(ask(mirror).has_value());
}

TEST_CASE("a poll that took so long that its offset may be nothing counts as missed")
{
    auto mirror = answering();
    const auto slow = [&](Nanoseconds t, Nanoseconds there, Nanoseconds back) {
        const auto stamp = ntp_timestamp(kStart + t + there);
        const auto reply = packet({.mode = 4, .stratum = 2, .receive = stamp, .transmit = stamp});
        mirror.on_poll({.reply = reply, .sent_wall = kStart + t, .received = clocks(t + there + back)});
    };
    for (int count = 0; count < 4; ++count) {
        slow(6s + count * 2s, 10ms, 100us); // an offset of 5 ms, known to 5 ms
    }
    CHECK(ask(mirror, 15s).has_value());
    slow(16s, 10ms, 100us);
    CHECK(mirror.fault() == MirrorFault::missed);
}

TEST_CASE("a step of the system clock stops it before the next answer; slewing does not")
{
    for (const auto step : {2ms, -2ms, 3600000ms}) {
        auto mirror = answering();
        mirror.on_clock(clocks(4s + 300us, step));
        CHECK(mirror.fault() == MirrorFault::clock_step);
    }
    auto mirror = answering();
    for (int count = 1; count <= 10; ++count) {
        mirror.on_clock(clocks(4s + count * 1s, count * 500us)); // 500 ppm
    }
    CHECK_FALSE(mirror.fault().has_value());
}

TEST_CASE("a step that the kernel tells of stops it however small it was, until three good polls")
{
    auto mirror = answering();
    mirror.on_clock(clocks(6s, 1ms)); // in two seconds this may as well be slewing
    CHECK(ask(mirror, 6s).has_value());
    mirror.on_step();
    CHECK(mirror.fault() == MirrorFault::clock_step);
    CHECK_FALSE(ask(mirror, 6s).has_value());
    poll(mirror, 8s, {.stepped = 1ms});
    poll(mirror, 10s, {.stepped = 1ms});
    CHECK_FALSE(ask(mirror, 10s).has_value());
    poll(mirror, 12s, {.stepped = 1ms});
    CHECK(ask(mirror, 12s).has_value());
}

TEST_CASE("an answer whose transmit stamp would lie before its receive stamp is not given")
{
    CHECK(ask(answering(), 5s, 0us).has_value());
    CHECK_FALSE(ask(answering(), 5s, -1us).has_value());
}

TEST_SUITE_END();
