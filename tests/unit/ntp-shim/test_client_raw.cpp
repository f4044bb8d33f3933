// The client role under raw framing: one packet each way, one exchange at a time, its own hold corrected.
#include "tests/unit/ntp-shim/client_rig.hpp"

using ntp_shim::Health;
using namespace packets;

namespace {

struct RawRig : ClientRig {
    RawRig() : ClientRig(raw()) { open(); }
};

Octets numbered(std::uint64_t number)
{
    return request({.transmit = number});
}

Octets good(const Octets& asked)
{
    return packet(answer_to(asked));
}

} // namespace

TEST_SUITE_BEGIN("client_raw");

TEST_CASE("the message is the packet itself")
{
    RawRig rig;
    rig.ask(request(), 0s);
    CHECK(rig.message == request());
    CHECK(rig.receive(good(request()), 10ms).empty());
    CHECK(rig.delivered == good(request()));
    const auto sealed = request({.tail = noise(20)});
    rig.ask(sealed, 20ms);
    CHECK(rig.message == sealed);
}

TEST_CASE("our own holds are corrected")
{
    RawRig rig;
    REQUIRE(rig.take(request(), 0s).empty());
    REQUIRE(rig.hand_over(250ms).empty());
    CHECK(rig.receive(good(request()), 300ms, 125ms).empty());
    CHECK(parse(rig.delivered).receive == kT2 - (1ULL << 30));
    CHECK(parse(rig.delivered).transmit == kT3 + (1ULL << 29));
}

TEST_CASE("a channel has one exchange outstanding")
{
    RawRig rig;
    rig.open(2);
    rig.ask(numbered(1), 0s);
    CHECK(rig.shim.outstanding(1) == 1);
    CHECK(rig.take(numbered(2), 0s).empty());
    CHECK(rig.hand_over(0s) == "raw_busy");
    CHECK(rig.take(numbered(2), 0s).empty());
    CHECK(rig.hand_over(0s, 2).empty());
    CHECK(rig.receive(good(numbered(1)), 10ms).empty());
    CHECK(rig.take(numbered(3), 0s).empty());
    CHECK(rig.hand_over(0s).empty());
}

TEST_CASE("replies are matched by origin, on their channel")
{
    RawRig rig;
    rig.open(2);
    CHECK(rig.receive(good(numbered(1)), 0s) == "no_exchange");
    rig.ask(numbered(1), 0s);
    CHECK(rig.receive(good(numbered(9)), 1ms) == "bad_origin");
    CHECK(rig.receive(good(numbered(1)), 1ms, 0s, 2) == "no_exchange");
    CHECK(rig.receive(good(numbered(1)), 1ms).empty());
    CHECK(rig.receive(good(numbered(1)), 2ms) == "second_reply");
    rig.ask(numbered(2), 3ms);
    CHECK(rig.receive(good(numbered(1)), 4ms) == "second_reply");
    CHECK(rig.receive(good(numbered(2)), 4ms).empty());
}

TEST_CASE("a stamp may be asked again after its answer")
{
    RawRig rig;
    for (int repetition = 0; repetition < 3; ++repetition) {
        rig.ask(numbered(1), 0s);
        CHECK(rig.receive(good(numbered(1)), 1ms).empty());
    }
}

TEST_CASE("an interleaved reply passes when it was not held")
{
    RawRig rig;
    auto fields = answer_to(interleaved_request());
    fields.origin = parse(interleaved_request()).receive;
    rig.ask(interleaved_request(), 0s);
    CHECK(rig.receive(packet(fields), 10ms, 5ms).empty());
    CHECK(rig.delivered == packet(fields));
    rig.ask(interleaved_request(), 20ms);
    CHECK(rig.receive(packet(fields), 30ms, 5ms + 1us) == "held_too_long");
}

TEST_CASE("what is no reply is dropped, and the right one still passes")
{
    RawRig rig;
    rig.ask(request(), 0s);
    CHECK(rig.receive(zeros(47), 1ms) == "too_short");
    CHECK(rig.receive(noise(1025), 1ms) == "too_long");
    CHECK(rig.receive(request(), 1ms) == "bad_mode");
    CHECK(rig.receive(good(request()), 2ms).empty());
}

TEST_CASE("unanswered exchanges in a row are counted for each channel, until a reply")
{
    RawRig rig;
    rig.open(2);
    for (const auto t : {0s, 2s}) {
        rig.ask(numbered(static_cast<std::uint64_t>(t.count()) + 1), t);
        rig.expire(t + 1s);
        CHECK(rig.shim.outstanding(1) == 1);
        rig.expire(t + 1s + 1ns);
    }
    CHECK(rig.shim.unanswered(1) == 2);
    CHECK(rig.shim.unanswered(2) == 0);
    rig.ask(numbered(5), 4s);
    CHECK(rig.receive(good(numbered(5)), 5s + 1ns) == "too_late");
    CHECK(rig.shim.unanswered(1) == 3);
    rig.ask(numbered(6), 6s);
    CHECK(rig.receive(good(numbered(6)), 6s).empty());
    CHECK(rig.shim.unanswered(1) == 0);
    CHECK(rig.shim.unanswered(77) == 0);
}

TEST_CASE("there are no pings")
{
    RawRig rig;
    rig.ask(request(), 0s);
    CHECK(rig.shim.health(1, 25s, at(1h)) == Health::good);
    CHECK(rig.shim.make_ping(1, at(1s)).empty());
    CHECK(rig.shim.next_deadline(25s) == at(1s).boot + 1ns);
}

TEST_SUITE_END();
