#include "ntp-shim/liveness.hpp"

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::Health;
using ntp_shim::Liveness;
using ntp_shim::Nanoseconds;
using namespace packets;

namespace {

constexpr Nanoseconds kKeepalive = 25s;

/// A channel opened at 0 s, its oldest unanswered request, and what it is told.
struct Watched {
    Liveness liveness{at(0s).boot, 1s};
    std::optional<Nanoseconds> oldest;
    std::uint32_t next_id = 100;

    void ask(Nanoseconds t) { oldest = at(t).boot; }
    void answer(Nanoseconds t, Nanoseconds round_trip)
    {
        oldest.reset();
        liveness.heard(at(t).boot);
        liveness.answered(round_trip);
    }
    void lose()
    {
        oldest.reset();
        liveness.lost();
    }
    std::uint32_t ping(Nanoseconds t)
    {
        liveness.ping_sent(next_id, at(t), oldest);
        return next_id++;
    }
    bool pong(std::uint32_t id, Nanoseconds t)
    {
        liveness.heard(at(t).boot);
        return liveness.pong_received(id, at(t));
    }
    Health check(Nanoseconds t) { return liveness.check(oldest, kKeepalive, at(t).boot); }
    [[nodiscard]] Nanoseconds next() const { return liveness.next(oldest, kKeepalive) - at(0s).boot; }
};

} // namespace

TEST_SUITE_BEGIN("liveness");

TEST_CASE("a request unanswered for 200 ms asks for a ping on a new channel")
{
    Watched channel;
    channel.ask(1s);
    CHECK(channel.next() == 1200ms);
    CHECK(channel.check(1200ms - 1ns) == Health::good);
    CHECK(channel.check(1200ms) == Health::ping_due);
}

TEST_CASE("patience is four times the best round trip, and 200 ms at least")
{
    Watched channel;
    channel.answer(1s, 80ms);
    channel.answer(2s, 900ms);
    channel.ask(3s);
    CHECK(channel.check(3320ms - 1ns) == Health::good);
    CHECK(channel.check(3320ms) == Health::ping_due);
    channel.answer(4s, 10ms);
    channel.ask(5s);
    CHECK(channel.check(5200ms - 1ns) == Health::good);
    CHECK(channel.check(5200ms) == Health::ping_due);
}

TEST_CASE("a pong's round trip counts as well")
{
    Watched channel;
    const auto ping = channel.ping(1s);
    CHECK(channel.pong(ping, 1100ms));
    channel.ask(2s);
    CHECK(channel.check(2400ms - 1ns) == Health::good);
    CHECK(channel.check(2400ms) == Health::ping_due);
}

TEST_CASE("three pings unanswered 200 ms apart are death")
{
    Watched channel;
    channel.answer(500ms, 3ms);
    channel.ask(1s);
    channel.ping(1200ms);
    CHECK(channel.check(1400ms - 1ns) == Health::good);
    CHECK(channel.check(1400ms) == Health::ping_due);
    channel.ping(1400ms);
    CHECK(channel.check(1600ms) == Health::ping_due);
    channel.ping(1600ms);
    CHECK(channel.check(1800ms - 1ns) == Health::good);
    CHECK(channel.next() == 1800ms);
    CHECK(channel.check(1800ms) == Health::dead);
}

TEST_CASE("a slow path keeps its channel: the wait is its best round trip")
{
    Watched channel;
    channel.answer(1s, 900ms);
    channel.ask(2s);
    CHECK(channel.check(5600ms) == Health::ping_due); // 4 x 900 ms later
    channel.ping(5600ms);
    CHECK(channel.check(6500ms - 1ns) == Health::good);
    CHECK(channel.check(6500ms) == Health::ping_due);
}

TEST_CASE("while no round trip is known the wait is half of the longest that is allowed")
{
    Liveness liveness(at(0s).boot, 4s);
    liveness.ping_sent(1, at(1s), std::nullopt);
    CHECK(liveness.check(std::nullopt, kKeepalive, at(3s - 1ns).boot) == Health::good);
    CHECK(liveness.check(std::nullopt, kKeepalive, at(3s).boot) == Health::ping_due);
    Liveness hasty(at(0s).boot, 10ms);
    hasty.ping_sent(1, at(1s), std::nullopt);
    CHECK(hasty.check(std::nullopt, kKeepalive, at(1200ms - 1ns).boot) == Health::good);
    CHECK(hasty.check(std::nullopt, kKeepalive, at(1200ms).boot) == Health::ping_due);
}

TEST_CASE("death is noticed though no request is open any more")
{
    Watched channel;
    channel.ask(1s);
    channel.ping(1200ms);
    channel.lose();
    CHECK(channel.check(1700ms) == Health::ping_due);
    channel.ping(1700ms);
    CHECK(channel.check(2200ms) == Health::ping_due);
    channel.ping(2200ms);
    CHECK(channel.check(2700ms) == Health::dead);
}

TEST_CASE("a request lost before patience ends asks for a ping as well, once")
{
    Watched channel;
    channel.ask(1s);
    channel.lose();
    CHECK(channel.check(1100ms) == Health::ping_due);
    const auto ping = channel.ping(1100ms);
    CHECK(channel.pong(ping, 1101ms));
    CHECK(channel.check(1399ms) == Health::good);
}

TEST_CASE("the pong to any ping saves the channel, and counts once")
{
    Watched channel;
    channel.ask(1s);
    const auto first = channel.ping(1200ms);
    const auto second = channel.ping(1500ms);
    CHECK(channel.pong(first, 1700ms));
    CHECK_FALSE(channel.pong(first, 1701ms));
    CHECK(channel.pong(second, 1702ms));
    CHECK_FALSE(channel.pong(999, 1703ms));
    channel.oldest.reset();
    CHECK(channel.check(1800ms) != Health::dead);
}

TEST_CASE("anything the peer says saves the channel")
{
    Watched channel;
    channel.ask(1s);
    channel.ping(1200ms);
    channel.ping(1500ms);
    channel.liveness.heard(at(1799ms).boot);
    channel.oldest.reset();
    CHECK(channel.check(1900ms) == Health::good);
}

TEST_CASE("answered pings without replies are upstream_silent, reported once")
{
    Watched channel;
    channel.ask(1s);
    const auto ping = channel.ping(1200ms);
    CHECK(channel.pong(ping, 1210ms));
    CHECK(channel.check(1499ms) == Health::good);
    CHECK(channel.check(1500ms) == Health::ping_due); // 300 ms after the first
    const auto second = channel.ping(1500ms);
    CHECK(channel.pong(second, 1501ms));
    CHECK(channel.check(1510ms - 1ns) == Health::good);
    CHECK(channel.check(1510ms) == Health::upstream_silent);
    CHECK(channel.check(1511ms) == Health::good);
    channel.lose();
    channel.ask(2s);
    CHECK(channel.check(2500ms - 1ns) == Health::good); // silent: one ping a second
    CHECK(channel.check(2500ms) == Health::ping_due);
    CHECK(channel.pong(channel.ping(2500ms), 2501ms));
    CHECK(channel.check(3499ms) == Health::good);
}

TEST_CASE("a reply ends the silence, and a new one is reported again")
{
    Watched channel;
    channel.ask(1s);
    CHECK(channel.pong(channel.ping(1200ms), 1210ms));
    CHECK(channel.check(1510ms) != Health::good); // silent, or the next ping
    channel.answer(1600ms, 600ms);
    CHECK(channel.check(1900ms) == Health::good);
    channel.ask(3s);
    CHECK(channel.check(3200ms - 1ns) == Health::good);
    CHECK(channel.pong(channel.ping(3200ms), 3210ms));
    channel.lose();
    CHECK(channel.pong(channel.ping(3500ms), 3501ms));
    CHECK(channel.check(3510ms) == Health::upstream_silent);
}

TEST_CASE("a slow reply after the pong is no silence")
{
    Watched channel;
    channel.ask(1s);
    CHECK(channel.pong(channel.ping(1200ms), 1210ms));
    channel.answer(1300ms, 300ms);
    CHECK(channel.check(1511ms) == Health::good);
    CHECK(channel.check(2s) == Health::good);
    CHECK(channel.pong(channel.ping(26s), 26s + 1ms)); // nor is the next keepalive
    CHECK(channel.check(27s) == Health::good);
}

TEST_CASE("a channel that heard nothing for the keepalive is asked")
{
    Watched channel;
    CHECK(channel.next() == 25s);
    CHECK(channel.check(25s - 1ns) == Health::good);
    CHECK(channel.check(25s) == Health::ping_due);
    CHECK(channel.pong(channel.ping(25s), 25s + 1ms));
    CHECK(channel.next() == 50s + 1ms);
    CHECK(channel.check(50s) == Health::good);
}

TEST_CASE("an idle channel's ping is no reason to call the upstream silent")
{
    Watched channel;
    CHECK(channel.pong(channel.ping(25s), 25s + 1ms));
    CHECK(channel.check(26s) == Health::good);
}

TEST_CASE("no keepalive, nothing due")
{
    Liveness liveness(at(0s).boot, 1s);
    CHECK(liveness.check(std::nullopt, 0ns, at(1000h).boot) == Health::good);
    CHECK(liveness.next(std::nullopt, 0ns) == Nanoseconds::max());
}

TEST_CASE("pings are at least 100 ms apart")
{
    Watched channel;
    CHECK(channel.liveness.may_ping(at(1s).boot));
    channel.ping(1s);
    CHECK_FALSE(channel.liveness.may_ping(at(1100ms - 1ns).boot));
    CHECK(channel.liveness.may_ping(at(1100ms).boot));
}

TEST_SUITE_END();
