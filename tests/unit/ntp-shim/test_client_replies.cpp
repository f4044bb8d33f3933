// The client role's way back under framing v1: which frames become replies, and what time they tell.
#include "tests/unit/ntp-shim/client_rig.hpp"

using ntp_shim::ClientPolicy;
using ntp_shim::Control;
using ntp_shim::DropReason;
using ntp_shim::FrameType;
using ntp_shim::Health;
using ntp_shim::to_ticks;
using namespace packets;

namespace {

constexpr Nanoseconds kNoKeepalive = 0s;

/// A rig with channel 1 open and one request handed over at 0 s, after it had waited for `wait`.
struct Asked : ClientRig {
    explicit Asked(const Octets& datagram = request(), const ClientPolicy& policy = {}, Nanoseconds wait = 0s)
        : ClientRig(policy), asked(datagram)
    {
        open(1, -1s);
        REQUIRE(take(asked, -wait).empty());
        REQUIRE(hand_over(0s).empty());
    }
    [[nodiscard]] Fields good() const { return answer_to(asked); }
    Octets asked;
};

ClientPolicy with(void (*change)(ClientPolicy&))
{
    ClientPolicy policy;
    change(policy);
    return policy;
}

std::uint64_t ticks(Nanoseconds interval)
{
    return static_cast<std::uint64_t>(to_ticks(interval).count());
}

Octets ping_frame(FrameType type, std::uint32_t id)
{
    return encode({.type = type, .id = id, .packet = {}});
}

} // namespace

TEST_SUITE_BEGIN("client_replies");

TEST_CASE("a reply without holds reaches its asker unchanged")
{
    Asked rig;
    CHECK(rig.answer(rig.good(), 10ms).empty());
    CHECK(rig.delivered == packet(rig.good()));
    CHECK(rig.asker == endpoint());
    CHECK(rig.counters.exchanges.answered == 1);
    CHECK(rig.shim.open() == 0);
}

TEST_CASE("T2 and T3 are moved by all four holds, and nothing else is")
{
    Asked rig(request(), {}, 100ms);
    CHECK(rig.answer(rig.good(), 500ms, {.forward = 30ms, .backward = 7ms}, 20ms).empty());
    auto expected = rig.good();
    expected.receive -= ticks(100ms) + ticks(30ms);
    expected.transmit += ticks(7ms) + ticks(20ms);
    CHECK(rig.delivered == packet(expected));
}

TEST_CASE("what sealing took is forward hold as well")
{
    Asked rig(request(), {}, 100ms);
    rig.shim.leave(rig.last, at(9ms));
    CHECK(rig.answer(rig.good(), 500ms).empty());
    auto expected = rig.good();
    expected.receive -= ticks(109ms);
    CHECK(rig.delivered == packet(expected));
}

TEST_CASE("only an open exchange can leave")
{
    ClientRig rig;
    rig.open();
    REQUIRE(rig.take(request(), 0s).empty());
    rig.shim.leave(rig.last, at(4ms)); // waits still
    REQUIRE(rig.hand_over(5ms).empty());
    CHECK(rig.answer(answer_to(request()), 100ms).empty());
    auto expected = answer_to(request());
    expected.receive -= ticks(5ms);
    CHECK(rig.delivered == packet(expected));
    rig.shim.leave(rig.last, at(200ms)); // over
    CHECK(rig.shim.open() == 0);
}

TEST_CASE("without hold correction a reply passes unchanged")
{
    Asked rig(request(), with([](ClientPolicy& policy) { policy.correct_hold = false; }), 100ms);
    CHECK(rig.answer(rig.good(), 500ms, {.forward = 30ms, .backward = 7ms}, 20ms).empty());
    CHECK(rig.delivered == packet(rig.good()));
}

TEST_CASE("holds that cannot have been are refused, corrected or not")
{
    for (const bool corrects : {true, false}) {
        ClientPolicy policy;
        policy.correct_hold = corrects;
        Asked fits(request(), policy);
        auto reply = fits.good();
        reply.transmit = reply.receive;
        CHECK(fits.answer(reply, 19ms, {.forward = 12ms, .backward = 8ms}).empty());
        Asked exceeds(request(), policy);
        CHECK(exceeds.answer(reply, 19ms - 2us, {.forward = 12ms, .backward = 8ms}) == "implausible_hold");
        CHECK(exceeds.counters.exchanges.answered == 1);
    }
}

TEST_CASE("the daemon's own T3 - T2 has to fit as well")
{
    Asked fits;
    auto reply = fits.good();
    reply.transmit = reply.receive + ticks(11ms);
    CHECK(fits.answer(reply, 10ms).empty());
    Asked exceeds;
    reply.transmit += ticks(1us);
    CHECK(exceeds.answer(reply, 10ms) == "implausible_hold");
    Asked lies;
    reply.transmit = reply.receive + (1ULL << 62);
    CHECK(lies.answer(reply, 10ms) == "implausible_hold");
}

TEST_CASE("T3 before T2 is refused, unless the holds explain it")
{
    Asked stepped;
    auto reply = stepped.good();
    reply.transmit = reply.receive - ticks(10ms);
    CHECK(stepped.answer(reply, 20ms) == "implausible_hold");
    Asked held(request(), {}, 10ms);
    CHECK(held.answer(reply, 20ms).empty());
    Asked not_enough(request(), {}, 9ms);
    CHECK(not_enough.answer(reply, 20ms) == "implausible_hold");
}

TEST_CASE("a T2 shifted to zero becomes one")
{
    Asked rig(request(), {}, 100ms);
    auto reply = rig.good();
    reply.receive = ticks(100ms);
    reply.transmit = ticks(101ms);
    CHECK(rig.answer(reply, 10ms).empty());
    CHECK(parse(rig.delivered).receive == 1);
    CHECK(parse(rig.delivered).transmit == ticks(101ms));
}

TEST_CASE("the era may change between T2 and T3")
{
    Asked rig(request(), {}, 100ms);
    auto reply = rig.good();
    reply.receive = 0 - ticks(5ms);
    reply.transmit = ticks(5ms);
    CHECK(rig.answer(reply, 20ms, {}, 3ms).empty());
    CHECK(parse(rig.delivered).receive == 0 - ticks(5ms) - ticks(100ms));
    CHECK(parse(rig.delivered).transmit == ticks(5ms) + ticks(3ms));
}

TEST_CASE("a wrong reply is dropped, and the right one still passes")
{
    const auto drops_first = [](const char* word, void (*spoil)(Fields&)) {
        Asked rig;
        auto wrong = rig.good();
        spoil(wrong);
        CHECK(rig.answer(wrong, 10ms) == word);
        CHECK(rig.shim.outstanding(1) == 1);
        CHECK(rig.answer(rig.good(), 11ms).empty());
    };
    drops_first("bad_mode", [](Fields& reply) { reply.mode = 3; });
    drops_first("bad_version", [](Fields& reply) { reply.version = 3; });
    drops_first("bad_origin", [](Fields& reply) { reply.origin += 1; });
    drops_first("zero_stamp", [](Fields& reply) { reply.receive = 0; });
    drops_first("zero_stamp", [](Fields& reply) { reply.transmit = 0; });
    drops_first("reply_too_long", [](Fields& reply) { reply.tail = noise(1); });
}

TEST_CASE("an answer that is no time ends the exchange")
{
    const auto ends = [](const char* word, void (*spoil)(Fields&)) {
        Asked rig;
        auto bad = rig.good();
        spoil(bad);
        CHECK(rig.answer(bad, 10ms) == word);
        CHECK(rig.counters.exchanges.answered == 1);
        CHECK(rig.counters.replies.forwarded == 0);
        CHECK(rig.answer(rig.good(), 11ms) == "second_reply");
    };
    ends("crypto_nak", [](Fields& reply) { reply.tail = zeros(4); });
    ends("unsynchronised", [](Fields& reply) { reply.leap = 3; });
    ends("unsynchronised", [](Fields& reply) { reply.stratum = 16; });
    ends("unsynchronised", [](Fields& reply) { reply.stratum = reply.leap = 0, reply.reference_id = 0; });
    ends("kiss_of_death", [](Fields& reply) { reply.stratum = 0, reply.reference_id = 0x52415445; });
}

TEST_CASE("a kiss passes when asked for, as it is")
{
    Asked rig(request(), with([](ClientPolicy& policy) { policy.forward_kod = true; }), 100ms);
    auto kiss = rig.good();
    kiss.stratum = 0;
    kiss.leap = 3;
    kiss.reference_id = 0x44454e59;
    kiss.receive = kiss.transmit = 0;
    CHECK(rig.answer(kiss, 10ms).empty());
    CHECK(rig.delivered == packet(kiss));
}

TEST_CASE("an unsynchronised reply passes when asked for")
{
    Asked rig(request(), with([](ClientPolicy& policy) { policy.forward_unsynchronised = true; }));
    auto reply = rig.good();
    reply.stratum = 16;
    CHECK(rig.answer(reply, 10ms).empty());
}

TEST_CASE("a reply is answered once: a second one is named so, as long as it is remembered")
{
    Asked rig;
    const auto reply = rig.frame(packet(rig.good()));
    CHECK(rig.receive(reply, 10ms).empty());
    CHECK(rig.receive(reply, 11ms) == "second_reply");
    for (std::uint64_t number = 1; number < 64; ++number) {
        rig.ask(request({.transmit = number}), 20ms);
        CHECK(rig.answer(answer_to(request({.transmit = number})), 21ms).empty());
    }
    CHECK(rig.receive(reply, 22ms) == "second_reply");
    rig.ask(request({.transmit = 64}), 20ms);
    CHECK(rig.answer(answer_to(request({.transmit = 64})), 21ms).empty());
    CHECK(rig.receive(reply, 22ms) == "no_exchange");
}

TEST_CASE("an id nobody asked, another channel and no channel are no exchange")
{
    Asked rig;
    rig.open(2);
    const auto reply = rig.frame(packet(rig.good()));
    CHECK(rig.receive(reply, 10ms, 0s, 2) == "no_exchange");
    CHECK(rig.receive(reply, 10ms, 0s, 3) == "no_exchange");
    auto other = reply;
    other[7] ^= std::byte{1};
    CHECK(rig.receive(other, 10ms) == "no_exchange");
    CHECK(rig.receive(reply, 10ms).empty());
}

TEST_CASE("max-round-trip is the last moment of delivery, our own hold included")
{
    Asked in_time;
    CHECK(in_time.answer(in_time.good(), 900ms, {}, 100ms).empty());
    Asked late;
    CHECK(late.answer(late.good(), 900ms, {}, 100ms + 1ns) == "too_late");
    CHECK(late.counters.exchanges.lost == 1);
    CHECK(late.shim.open() == 0);
    Asked waited(request(), {}, 300ms);
    CHECK(waited.answer(waited.good(), 700ms + 1ns) == "too_late");
}

TEST_CASE("a reply is not held longer than max-age either")
{
    Asked fits;
    CHECK(fits.answer(fits.good(), 10ms, {}, 500ms).empty());
    Asked held;
    CHECK(held.answer(held.good(), 10ms, {}, 500ms + 1ns) == "too_old");
    CHECK(held.counters.exchanges.answered == 1);
}

TEST_CASE("a protected exchange passes unchanged, and not when held")
{
    const auto sealed = request({.tail = noise(20)});
    Asked quick(sealed);
    auto reply = quick.good();
    reply.tail = noise(20);
    CHECK(quick.answer(reply, 100ms, {.forward = 2ms, .backward = 2ms}, 1ms - 1ns).empty());
    CHECK(quick.delivered == packet(reply));
    Asked held(sealed);
    CHECK(held.answer(reply, 100ms, {.forward = 2ms, .backward = 2ms}, 1ms + 1us) == "held_too_long");
    Asked stripped(sealed); // a daemon that leaves the MAC out: the request was protected all the same
    CHECK(stripped.answer(stripped.good(), 100ms, {.forward = 6ms}) == "held_too_long");
    Asked implausible(sealed);
    CHECK(implausible.answer(reply, 1ms, {.forward = 3ms}) == "implausible_hold");
}

TEST_CASE("a reply may be longer when its request had extension fields")
{
    const auto extended = request({.tail = noise(28)});
    Asked rig(extended);
    auto reply = rig.good();
    reply.tail = noise(976);
    CHECK(rig.answer(reply, 10ms).empty());
    CHECK(rig.delivered == packet(reply));
}

TEST_CASE("an interleaved reply passes unchanged under the same rule; a basic one is corrected")
{
    Asked rig(interleaved_request());
    auto reply = rig.good();
    reply.origin = parse(rig.asked).receive;
    reply.transmit = reply.receive - ticks(16s); // T3 of the exchange before
    CHECK(rig.answer(reply, 100ms, {.forward = 3ms, .backward = 2ms - 1ns}).empty());
    CHECK(rig.delivered == packet(reply));
    Asked ahead(interleaved_request());
    reply.transmit = reply.receive + ticks(16s); // nor after a step of the daemon's clock between the two
    CHECK(ahead.answer(reply, 100ms).empty());
    Asked held(interleaved_request());
    CHECK(held.answer(reply, 100ms, {.forward = 3ms, .backward = 2ms + 1us}) == "held_too_long");
    Asked basic(interleaved_request(), {}, 50ms);
    CHECK(basic.answer(basic.good(), 100ms).empty());
    CHECK(parse(basic.delivered).receive == kT2 - ticks(50ms));
}

TEST_CASE("what is no frame, or none for us, is dropped")
{
    Asked rig;
    CHECK(rig.receive({}, 1ms) == "bad_frame");
    CHECK(rig.receive(noise(80), 1ms) == "bad_frame");
    CHECK(rig.receive(rig.message, 1ms) == "unexpected_frame");
    CHECK(rig.receive(ping_frame(FrameType::ping, 1), 1ms) == "unexpected_frame");
    auto overflow = rig.frame(packet(rig.good()));
    std::fill_n(overflow.begin() + 24, 4, std::byte{0xff});
    CHECK(rig.receive(overflow, 1ms) == "hold_overflow");
    CHECK(rig.counters.replies.dropped() == 5);
    CHECK(rig.answer(rig.good(), 2ms).empty());
}

TEST_CASE("a goodbye is passed on")
{
    Asked rig;
    CHECK(rig.receive(ping_frame(FrameType::goodbye, 0), 1ms).empty());
    CHECK(rig.control == Control::goodbye);
    CHECK(rig.counters.replies.control == 1);
}

TEST_CASE("a pong answers a ping of ours, once; pings take ids from the same sequence")
{
    Asked rig;
    const auto ping = decode(rig.shim.make_ping(1, at(1ms)));
    CHECK(ping.type == FrameType::ping);
    CHECK(ping.id == kSeed.first_id + 1);
    CHECK(ping.sent == ntp_shim::stamp_of(at(1ms).raw) + kSeed.stamp_offset);
    CHECK(rig.receive(ping_frame(FrameType::pong, kSeed.first_id), 2ms) == "no_exchange");
    CHECK(rig.receive(ping_frame(FrameType::pong, ping.id), 2ms).empty());
    CHECK(rig.control == Control::pong);
    CHECK(rig.receive(ping_frame(FrameType::pong, ping.id), 3ms) == "no_exchange");
    CHECK(rig.shim.make_ping(1, at(50ms)).empty()); // ten a second at most
    CHECK_FALSE(rig.shim.make_ping(1, at(101ms)).empty());
    CHECK(rig.shim.make_ping(9, at(1s)).empty());
}

TEST_CASE("an unanswered request leads to pings, and three unanswered pings to death")
{
    Asked rig;
    CHECK(rig.shim.health(1, kNoKeepalive, at(200ms - 1ns)) == Health::good);
    CHECK(rig.shim.next_deadline(kNoKeepalive) == at(200ms).boot);
    CHECK(rig.shim.health(1, kNoKeepalive, at(200ms)) == Health::ping_due);
    CHECK_FALSE(rig.shim.make_ping(1, at(200ms)).empty());
    for (const auto next : {700ms, 1200ms}) {
        CHECK(rig.shim.health(1, kNoKeepalive, at(next - 1ms)) == Health::good);
        CHECK(rig.shim.health(1, kNoKeepalive, at(next)) == Health::ping_due);
        CHECK_FALSE(rig.shim.make_ping(1, at(next)).empty());
    }
    CHECK(rig.shim.health(1, kNoKeepalive, at(1700ms)) == Health::dead);
    CHECK(rig.shim.health(2, kNoKeepalive, at(1700ms)) == Health::good); // no such channel
}

TEST_CASE("a channel is heard from by its replies, also those that are refused")
{
    Asked rig;
    const auto late = rig.frame(packet(rig.good()));
    CHECK_FALSE(rig.shim.make_ping(1, at(200ms)).empty());
    CHECK_FALSE(rig.shim.make_ping(1, at(700ms)).empty());
    CHECK_FALSE(rig.shim.make_ping(1, at(1200ms)).empty());
    rig.expire(1201ms);
    CHECK(rig.shim.health(1, kNoKeepalive, at(1700ms)) == Health::dead);
    CHECK(rig.receive(late, 1701ms) == "no_exchange");
    CHECK(rig.shim.health(1, kNoKeepalive, at(1702ms)) != Health::dead);
}

TEST_CASE("answered pings and lost requests are a silent upstream, until a reply")
{
    Asked rig;
    const auto ping = decode(rig.shim.make_ping(1, at(200ms))).id;
    CHECK(rig.receive(ping_frame(FrameType::pong, ping), 210ms).empty());
    const auto second = decode(rig.shim.make_ping(1, at(500ms))).id;
    CHECK(rig.receive(ping_frame(FrameType::pong, second), 505ms).empty());
    CHECK(rig.shim.health(1, kNoKeepalive, at(510ms)) == Health::upstream_silent);
    CHECK(rig.shim.health(1, kNoKeepalive, at(511ms)) == Health::good);
    CHECK(rig.answer(rig.good(), 600ms).empty());
    CHECK(rig.shim.health(1, kNoKeepalive, at(3s)) == Health::good);
    CHECK_FALSE(rig.shim.next_deadline(kNoKeepalive).has_value());
}

TEST_CASE("a quiet channel is pinged after the keepalive")
{
    Asked rig;
    CHECK(rig.answer(rig.good(), 10ms).empty());
    CHECK(rig.shim.next_deadline(25s) == at(25s + 10ms).boot);
    CHECK(rig.shim.health(1, 25s, at(25s)) == Health::good);
    CHECK(rig.shim.health(1, 25s, at(25s + 10ms)) == Health::ping_due);
}

TEST_SUITE_END();
