// The server role: which messages reach the daemon, and which of its datagrams answer them.
#include "ntp-shim/server_shim.hpp"

#include "tests/unit/ntp-shim/server_rig.hpp"

using ntp_shim::DropReason;
using ntp_shim::Frame;
using ntp_shim::FrameType;
using ntp_shim::ServerPolicy;
using namespace packets;

namespace {

constexpr std::uint64_t kFresh = 0x7777777788888888;

Octets control_frame(FrameType type, std::uint32_t id = 0)
{
    return encode({.type = type, .id = id, .packet = {}});
}

ServerPolicy limited(const ntp_shim::ExchangeLimits& limits)
{
    ServerPolicy policy;
    policy.limits = limits;
    return policy;
}

} // namespace

TEST_SUITE_BEGIN("server_shim");

TEST_CASE("a plain request reaches the daemon with a stamp the client did not choose")
{
    ServerRig rig;
    CHECK(rig.ask(1, request(), 0s, kFresh).empty());
    auto expected = request();
    write_stamp(expected, ntp_shim::StampField::transmit, kFresh);
    CHECK(rig.to_daemon == expected);
    CHECK(rig.counters.requests.forwarded == 1);
    CHECK(rig.counters.exchanges.opened == 1);
    CHECK(rig.shim.open() == 1);
    CHECK(rig.shim.open(1) == 1);
}

TEST_CASE("its reply carries the client's stamp again, and our holds")
{
    ServerRig rig;
    CHECK(rig.ask(42, request(), 100ms, kFresh, 150ms).empty());
    CHECK(rig.answer(answer_to(rig.to_daemon), 160ms, 170ms).empty());
    const auto frame = decode(rig.to_channel);
    CHECK(rig.channel == 1);
    CHECK(frame.type == FrameType::reply);
    CHECK(frame.id == 42);
    CHECK(frame.sent == ntp_shim::stamp_of(at(170ms).raw) + kServerSeed.stamp_offset);
    CHECK(frame.arrived == ntp_shim::stamp_of(at(100ms).raw) + kServerSeed.stamp_offset);
    CHECK(frame.forward_hold == ntp_shim::hold_field(50ms));
    CHECK(frame.backward_hold == ntp_shim::hold_field(10ms));
    CHECK(std::ranges::equal(frame.packet, packet(answer_to(request())))); // T2 and T3 are the daemon's
    CHECK(rig.counters.exchanges.answered == 1);
    CHECK(rig.shim.open() == 0);
}

TEST_CASE("requests with more than a header, or with an origin, go unchanged")
{
    for (const auto& asked : {request({.tail = noise(20)}), request({.origin = 5}), interleaved_request()}) {
        ServerRig rig;
        CHECK(rig.ask(1, asked, 0s, kFresh).empty());
        CHECK(rig.to_daemon == asked);
        CHECK(rig.answer(answer_to(asked), 1ms).empty());
        CHECK(std::ranges::equal(decode(rig.to_channel).packet, packet(answer_to(asked))));
    }
}

TEST_CASE("zero and repeated stamps of clients do not matter when they are replaced")
{
    ServerRig rig;
    const auto zero = packet({});
    CHECK(rig.ask(1, zero, 0s, kFresh).empty());
    const auto first = rig.to_daemon;
    CHECK(rig.ask(2, zero, 0s, kFresh + 1).empty());
    CHECK(rig.answer(answer_to(rig.to_daemon), 1ms).empty());
    CHECK(decode(rig.to_channel).id == 2);
    CHECK(parse(decode(rig.to_channel).packet).origin == 0);
    CHECK(rig.answer(answer_to(first), 1ms).empty());
    CHECK(decode(rig.to_channel).id == 1);
}

TEST_CASE("a fresh stamp is never zero and never one that is open")
{
    ServerRig rig;
    CHECK(rig.ask(1, request(), 0s, 0).empty());
    const auto first = parse(rig.to_daemon).transmit;
    CHECK(first != 0);
    CHECK(rig.ask(2, request(), 0s, first).empty());
    CHECK(parse(rig.to_daemon).transmit != first);
    CHECK(rig.ask(3, request(), 0s, first).empty());
    CHECK(rig.shim.open() == 3);
}

TEST_CASE("an unchanged request needs a stamp of its own")
{
    ServerRig rig;
    CHECK(rig.ask(1, packet({.tail = noise(20)}), 0s) == "zero_stamp");
    CHECK(rig.ask(1, packet({.origin = 1}), 0s) == "zero_stamp");
    CHECK(rig.ask(1, request({.tail = noise(20)}), 0s).empty());
    CHECK(rig.ask(2, request({.tail = noise(20)}), 0s) == "duplicate_exchange");
    CHECK(rig.ask(3, request(), 0s, kT1).empty()); // a plain one evades it
    CHECK(parse(rig.to_daemon).transmit != kT1);
}

TEST_CASE("an id is open once on a channel, and once on every other")
{
    ServerRig rig;
    rig.shim.open_channel(2, kServerSeed);
    CHECK(rig.ask(1, request(), 0s, kFresh).empty());
    CHECK(rig.ask(1, request(), 0s, kFresh + 1) == "duplicate_exchange");
    CHECK(rig.ask(1, request(), 0s, kFresh + 1, 0s, 2).empty());
    CHECK(rig.answer(answer_to(rig.to_daemon), 1ms).empty());
    CHECK(rig.channel == 2);
    CHECK(rig.ask(1, request(), 2ms, kFresh + 2, 2ms, 2).empty());
}

TEST_CASE("an authenticated peer is still an input")
{
    ServerRig rig;
    CHECK(rig.receive({}, 0s) == "bad_frame");
    CHECK(rig.receive(noise(80), 0s) == "bad_frame");
    CHECK(rig.receive(control_frame(FrameType::pong), 0s) == "unexpected_frame");
    CHECK(rig.receive(control_frame(FrameType::goodbye), 0s) == "unexpected_frame");
    const auto asked = request();
    CHECK(rig.receive(encode({.type = FrameType::reply, .packet = asked}), 0s) == "unexpected_frame");
    CHECK(rig.ask(1, request({.version = 0}), 0s) == "bad_version");
    CHECK(rig.ask(1, request({.version = 5}), 0s) == "bad_version");
    CHECK(rig.ask(1, request({.mode = 4}), 0s) == "bad_mode");
    CHECK(rig.ask(1, request({.mode = 6}), 0s) == "bad_mode");
    CHECK(rig.ask(1, request(), 0s, kFresh, 0s, 99) == "channel_lost");
    CHECK(rig.counters.requests.dropped() == 10);
    CHECK(rig.shim.open() == 0);
}

TEST_CASE("a request is not held longer than max-age")
{
    ServerRig rig;
    CHECK(rig.ask(1, request(), 0s, kFresh, 500ms).empty());
    CHECK(rig.ask(2, request(), 0s, kFresh + 1, 500ms + 1ns) == "too_old");
}

TEST_CASE("a channel and the tunnel have their limits")
{
    ServerRig rig(limited({.exchanges = 3, .per_channel = 2}));
    rig.shim.open_channel(2, kServerSeed);
    CHECK(rig.ask(1, request(), 0s, 1).empty());
    CHECK(rig.ask(2, request(), 0s, 2).empty());
    CHECK(rig.ask(3, request(), 0s, 3) == "channel_limit");
    CHECK(rig.ask(3, request(), 0s, 3, 0s, 2).empty());
    CHECK(rig.ask(4, request(), 0s, 4, 0s, 2) == "exchange_limit");
    CHECK(rig.answer(answer_to(rig.to_daemon), 1ms).empty());
    CHECK(rig.ask(4, request(), 0s, 4, 0s, 2).empty());
    ServerRig unlimited(limited({.exchanges = 0, .per_channel = 0}));
    for (std::uint32_t id = 1; id <= 5000; ++id) {
        REQUIRE(unlimited.ask(id, request(), 0s, id).empty());
    }
}

TEST_CASE("a ping is answered with its id and its arrival, ten times a second")
{
    ServerRig rig;
    for (std::uint32_t id = 0; id < 10; ++id) {
        CHECK(rig.receive(control_frame(FrameType::ping, id), 10ms, 15ms).empty());
        const auto pong = decode(rig.to_channel);
        CHECK(pong.type == FrameType::pong);
        CHECK(pong.id == id);
        CHECK(pong.arrived == ntp_shim::stamp_of(at(10ms).raw) + kServerSeed.stamp_offset);
        CHECK(pong.sent == ntp_shim::stamp_of(at(15ms).raw) + kServerSeed.stamp_offset);
    }
    CHECK(rig.receive(control_frame(FrameType::ping, 10), 10ms, 15ms) == "frame_limit");
    CHECK(rig.receive(control_frame(FrameType::ping, 10), 115ms, 115ms).empty());
    CHECK(rig.counters.requests.control == 11);
    rig.shim.open_channel(2, kServerSeed);
    CHECK(rig.receive(control_frame(FrameType::ping, 1), 115ms, 115ms, 2).empty());
}

TEST_CASE("what answers nothing goes nowhere, and leaves the exchange open")
{
    ServerRig rig;
    CHECK(rig.ask(1, request(), 0s, kFresh).empty());
    const auto good = answer_to(rig.to_daemon);
    const auto refused = [&](void (*spoil)(Fields&)) {
        auto bad = good;
        spoil(bad);
        return rig.answer(bad, 1ms);
    };
    CHECK(rig.receive_from_daemon(zeros(47), 1ms) == "too_short");
    CHECK(rig.receive_from_daemon(noise(1025), 1ms) == "too_long");
    CHECK(refused([](Fields& reply) { reply.mode = 3; }) == "bad_mode");
    CHECK(refused([](Fields& reply) { reply.mode = 6; }) == "bad_mode");
    CHECK(refused([](Fields& reply) { reply.mode = 5, reply.origin = 0; }) == "bad_mode");
    CHECK(refused([](Fields& reply) { reply.origin += 1; }) == "no_exchange");
    CHECK(refused([](Fields& reply) { reply.origin = kT1; }) == "no_exchange"); // the client's own stamp
    CHECK(refused([](Fields& reply) { reply.version = 3; }) == "bad_version");
    CHECK(refused([](Fields& reply) { reply.receive = 0; }) == "zero_stamp");
    CHECK(refused([](Fields& reply) { reply.transmit = 0; }) == "zero_stamp");
    CHECK(refused([](Fields& reply) { reply.tail = noise(1); }) == "reply_too_long");
    CHECK(rig.shim.open() == 1);
    CHECK(rig.answer(good, 1ms).empty());
    CHECK(rig.answer(good, 1ms) == "second_reply");
}

TEST_CASE("a crypto-NAK ends the exchange and goes no further")
{
    ServerRig rig;
    CHECK(rig.ask(1, request({.tail = noise(20)}), 0s).empty());
    auto nak = answer_to(rig.to_daemon);
    nak.tail = zeros(4);
    CHECK(rig.answer(nak, 1ms) == "crypto_nak");
    CHECK(rig.counters.exchanges.answered == 1);
    CHECK(rig.shim.open() == 0);
}

TEST_CASE("kisses and unsynchronised replies are the client role's to judge")
{
    ServerRig rig;
    CHECK(rig.ask(1, request(), 0s, 1).empty());
    auto kiss = answer_to(rig.to_daemon);
    kiss.stratum = 0;
    kiss.reference_id = 0x52415445;
    CHECK(rig.answer(kiss, 1ms).empty());
    CHECK(rig.ask(2, request(), 0s, 2).empty());
    auto unsynchronised = answer_to(rig.to_daemon);
    unsynchronised.leap = 3;
    unsynchronised.stratum = 16;
    CHECK(rig.answer(unsynchronised, 1ms).empty());
}

TEST_CASE("an interleaved reply is found by the request's receive stamp, and keeps its origin")
{
    ServerRig rig;
    CHECK(rig.ask(1, interleaved_request(), 0s).empty());
    auto reply = answer_to(rig.to_daemon);
    reply.origin = parse(interleaved_request()).receive;
    CHECK(rig.answer(reply, 1ms).empty());
    CHECK(std::ranges::equal(decode(rig.to_channel).packet, packet(reply)));
    CHECK(rig.answer(reply, 1ms) == "no_exchange");
    CHECK(rig.ask(2, request({.receive = 0xbbbb}), 2ms, kFresh).empty()); // basic mode: no such reply
    CHECK(rig.answer(reply, 3ms) == "no_exchange");
}

TEST_CASE("two clients' interleaved requests with one receive stamp are told apart by version")
{
    ServerRig rig;
    auto older = parse(interleaved_request());
    const auto asked = packet({.version = 3, .origin = older.origin, .receive = older.receive, .transmit = 0xdddd});
    CHECK(rig.ask(1, interleaved_request(), 0s).empty());
    CHECK(rig.ask(2, asked, 0s).empty());
    auto reply = answer_to(asked);
    reply.origin = older.receive;
    CHECK(rig.answer(reply, 1ms).empty());
    CHECK(decode(rig.to_channel).id == 2);
}

TEST_CASE("an answer held longer than max-age, or for a second, is not sent")
{
    ServerRig fits;
    CHECK(fits.ask(1, request(), 0s, kFresh).empty());
    CHECK(fits.answer(answer_to(fits.to_daemon), 10ms, 510ms).empty());
    ServerRig held;
    CHECK(held.ask(1, request(), 0s, kFresh).empty());
    CHECK(held.answer(answer_to(held.to_daemon), 10ms, 510ms + 1ns) == "too_old");
    CHECK(held.counters.exchanges.answered == 1);
    ServerPolicy patient;
    patient.max_age = 2s;
    patient.max_round_trip = 4s;
    ServerRig long_hold(patient);
    CHECK(long_hold.ask(1, request(), 0s, kFresh).empty());
    CHECK(long_hold.answer(answer_to(long_hold.to_daemon), 10ms, 1010ms - 1ns).empty());
    CHECK(long_hold.ask(2, request(), 0s, kFresh).empty());
    CHECK(long_hold.answer(answer_to(long_hold.to_daemon), 10ms, 1010ms) == "hold_overflow");
    CHECK(long_hold.ask(3, request(), 0s, kFresh, 1s).empty());
    CHECK(long_hold.answer(answer_to(long_hold.to_daemon), 1s) == "hold_overflow");
}

TEST_CASE("the daemon has max-round-trip to answer")
{
    ServerRig in_time;
    CHECK(in_time.ask(1, request(), 0s, kFresh).empty());
    CHECK(in_time.shim.next_deadline() == at(1s).boot + 1ns);
    CHECK(in_time.answer(answer_to(in_time.to_daemon), 1s).empty());
    CHECK_FALSE(in_time.shim.next_deadline().has_value());
    ServerRig late;
    CHECK(late.ask(1, request(), 0s, kFresh).empty());
    CHECK(late.answer(answer_to(late.to_daemon), 1s + 1ns) == "too_late");
    CHECK(late.counters.exchanges.lost == 1);
    ServerRig silent;
    CHECK(silent.ask(1, request(), 0s, kFresh).empty());
    silent.expire(1s);
    CHECK(silent.shim.open() == 1);
    silent.expire(1s + 1ns);
    CHECK(silent.shim.open() == 0);
    CHECK(silent.counters.exchanges.lost == 1);
}

TEST_CASE("a closed channel's exchanges are forgotten")
{
    ServerRig rig;
    CHECK(rig.ask(1, request(), 0s, kFresh).empty());
    rig.shim.close_channel(1);
    rig.check_sums();
    CHECK(rig.counters.exchanges.abandoned == 1);
    CHECK(rig.answer(answer_to(rig.to_daemon), 1ms) == "no_exchange");
    rig.shim.open_channel(1, kServerSeed);
    CHECK(rig.answer(answer_to(rig.to_daemon), 1ms) == "no_exchange");
    CHECK(rig.shim.open(1) == 0);
    CHECK(rig.shim.open(77) == 0);
}

TEST_CASE("what the socket or the channel does not take was not forwarded")
{
    ServerRig rig;
    CHECK(rig.ask(1, request(), 0s, kFresh).empty());
    rig.shim.refuse(rig.last, DropReason::upstream_unreachable);
    rig.check_sums();
    CHECK(rig.counters.requests.forwarded == 0);
    CHECK(rig.counters.exchanges.opened == 0);
    CHECK(rig.counters.requests.dropped() == 1);
    rig.shim.refuse(rig.last, DropReason::upstream_unreachable);
    CHECK(rig.counters.requests.dropped() == 1);
    CHECK(rig.answer(answer_to(rig.to_daemon), 1ms) == "no_exchange");
    CHECK(rig.ask(1, request(), 0s, kFresh).empty());
    CHECK(rig.answer(answer_to(rig.to_daemon), 1ms).empty());
    rig.shim.refuse_reply(DropReason::congested);
    rig.check_sums();
    CHECK(rig.counters.replies.forwarded == 0);
    CHECK(rig.counters.exchanges.answered == 1);
}

TEST_CASE("a goodbye is a frame of the channel")
{
    ServerRig rig;
    const auto goodbye = decode(rig.shim.make_goodbye(1, at(5s)));
    CHECK(goodbye.type == FrameType::goodbye);
    CHECK(goodbye.sent == ntp_shim::stamp_of(at(5s).raw) + kServerSeed.stamp_offset);
    CHECK(rig.shim.make_goodbye(9, at(5s)).empty());
}

TEST_SUITE_END();
