// The client role's way in: which datagrams become requests, how long they wait, and how many there may be.
#include "ntp-shim/client_shim.hpp"

#include "tests/unit/ntp-shim/client_rig.hpp"

using ntp_shim::ClientPolicy;
using ntp_shim::DropReason;
using ntp_shim::FrameType;
using namespace packets;

namespace {

ClientEndpoint from_address(const std::array<std::byte, 16>& address, std::uint16_t port = 40000)
{
    auto from = endpoint(port);
    from.address = address;
    return from;
}

ClientPolicy limited(const ntp_shim::ExchangeLimits& limits)
{
    ClientPolicy policy;
    policy.limits = limits;
    return policy;
}

/// A request that differs from every other number's.
Octets numbered(std::uint64_t number, Octets tail = {})
{
    return request({.transmit = 0x5000 + number, .tail = std::move(tail)});
}

} // namespace

TEST_SUITE_BEGIN("client_shim");

TEST_CASE("a request becomes a frame that carries it unchanged")
{
    ClientRig rig;
    rig.open();
    rig.ask(request(), 10ms);
    const auto frame = decode(rig.message);
    CHECK(frame.type == FrameType::request);
    CHECK(frame.id == kSeed.first_id);
    CHECK(frame.sent == ntp_shim::stamp_of(at(10ms).raw) + kSeed.stamp_offset);
    CHECK(frame.arrived == 0);
    CHECK(frame.forward_hold == 0);
    CHECK(frame.backward_hold == 0);
    CHECK(std::ranges::equal(frame.packet, request()));
    CHECK(rig.counters.requests.forwarded == 1);
    CHECK(rig.counters.exchanges.opened == 1);
    CHECK(rig.shim.outstanding(1) == 1);
}

TEST_CASE("what is no request is dropped under one word")
{
    ClientRig rig;
    CHECK(rig.take(zeros(0), 0s) == "too_short");
    CHECK(rig.take(zeros(47), 0s) == "too_short");
    CHECK(rig.take(request({.tail = noise(976)}), 0s).empty());
    CHECK(rig.take(request({.tail = noise(977)}), 0s) == "too_long");
    CHECK(rig.take(request({.version = 0}), 0s) == "bad_version");
    CHECK(rig.take(request({.version = 5}), 0s) == "bad_version");
    CHECK(rig.take(request({.mode = 4}), 0s) == "bad_mode");
    CHECK(rig.take(request({.mode = 6}), 0s) == "bad_mode");
    CHECK(rig.take(request(), 0s, true, endpoint(0)) == "bad_source");
    CHECK(rig.take(request(), 0s, true, from_address(ipv4(224, 0, 1, 1))) == "bad_source");
    CHECK(rig.counters.requests.received == 10);
    CHECK(rig.counters.requests.dropped() == 9);
    CHECK(rig.shim.waiting() == 1);
}

TEST_CASE("ids count up from the channel's first, through the wrap")
{
    ClientRig rig;
    rig.shim.open_channel(1, {.first_id = 0xffffffff, .stamp_offset = 0}, at(0s));
    rig.ask(numbered(1), 0s);
    CHECK(decode(rig.message).id == 0xffffffff);
    const auto first = rig.frame(packet(answer_to(numbered(1))));
    rig.ask(numbered(2), 0s);
    CHECK(decode(rig.message).id == 0);
    CHECK(rig.answer(answer_to(numbered(2)), 1ms).empty());
    CHECK(rig.receive(first, 2ms).empty());
}

TEST_CASE("send stamps wrap with the channel's offset")
{
    ClientRig rig;
    rig.shim.open_channel(1, {.first_id = 0, .stamp_offset = 0xffffffffffffffff}, at(0s));
    rig.ask(request(), 0s);
    CHECK(decode(rig.message).sent == ntp_shim::stamp_of(at(0s).raw) - 1);
}

TEST_CASE("without a channel a request waits, oldest first, until max-age")
{
    ClientRig rig;
    CHECK(rig.take(numbered(1), 0ms, false).empty());
    const auto first = rig.last;
    CHECK(rig.take(numbered(2), 100ms, false).empty());
    const auto second = rig.last;
    CHECK(rig.shim.waiting() == 2);
    CHECK(rig.shim.next_deadline(0s) == at(500ms).boot + 1ns);
    CHECK(rig.shim.next_waiting(at(500ms)) == first);
    CHECK(rig.shim.next_waiting(at(500ms + 1ns)) == second);
    CHECK(rig.drops(DropReason::no_channel) == 1);
    rig.expire(600ms);
    CHECK(rig.shim.waiting() == 1);
    rig.expire(600ms + 1ns);
    CHECK(rig.shim.waiting() == 0);
    CHECK_FALSE(rig.shim.next_waiting(at(600ms + 1ns)).has_value());
    CHECK(rig.drops(DropReason::no_channel) == 2);
    CHECK(rig.counters.exchanges.opened == 0);
}

TEST_CASE("the oldest is the one that arrived first, whatever the order of reading")
{
    ClientRig rig;
    CHECK(rig.take(numbered(1), 50ms, false).empty());
    const auto verdict = rig.shim.on_client_datagram(endpoint(), numbered(2), at(20ms), at(50ms), false);
    REQUIRE(std::holds_alternative<ntp_shim::ExchangeHandle>(verdict));
    CHECK(rig.shim.next_waiting(at(50ms)) == std::get<ntp_shim::ExchangeHandle>(verdict));
    rig.expire(520ms + 1ns);
    CHECK(rig.shim.waiting() == 1);
}

TEST_CASE("max-age is the longest wait before hand-over")
{
    ClientRig rig;
    rig.open();
    CHECK(rig.take(numbered(1), 0ms).empty());
    CHECK(rig.hand_over(500ms).empty());
    CHECK(rig.take(numbered(2), 0ms).empty());
    CHECK(rig.hand_over(500ms + 1ns) == "too_old");
    CHECK(rig.drops(DropReason::too_old) == 1);
    CHECK(rig.shim.waiting() == 0);
}

TEST_CASE("time spent suspended counts as age")
{
    ClientRig rig;
    rig.open();
    CHECK(rig.take(request(), 0ms).empty());
    const ntp_shim::Instant resumed{.raw = at(1ms).raw, .boot = at(1h).boot};
    CHECK(dropped(rig.shim.hand_over(rig.last, 1, resumed)) == "too_old");
}

TEST_CASE("a request that arrived in the future arrived now")
{
    ClientRig rig;
    const auto verdict = rig.shim.on_client_datagram(endpoint(), request(), at(10s), at(0s), false);
    CHECK(std::holds_alternative<ntp_shim::ExchangeHandle>(verdict));
    CHECK(rig.shim.next_deadline(0s) == at(500ms).boot + 1ns);
}

TEST_CASE("what cannot be corrected is not held")
{
    ClientRig rig;
    CHECK(rig.take(request({.tail = noise(20)}), 0s, false) == "not_correctable");
    CHECK(rig.take(request({.tail = noise(1)}), 0s, false) == "not_correctable");
    CHECK(rig.take(interleaved_request(), 0s, false).empty()); // correctable, if the reply is a basic one
    rig.open();
    CHECK(rig.take(numbered(1, noise(20)), 0s).empty());
    CHECK(rig.hand_over(5ms).empty());
    CHECK(rig.take(numbered(2, noise(20)), 0s).empty());
    CHECK(rig.hand_over(5ms + 1ns) == "held_too_long");
}

TEST_CASE("long requests keep their octets, also when others come before hand-over")
{
    ClientRig rig;
    rig.open();
    const std::vector<Octets> asked{numbered(1, noise(100)), numbered(2), numbered(3, noise(976)),
                                    numbered(4, noise(28))};
    std::vector<ntp_shim::ExchangeHandle> exchanges;
    for (const auto& one : asked) {
        REQUIRE(rig.take(one, 0s).empty());
        exchanges.push_back(rig.last);
    }
    for (std::size_t index = 0; index < asked.size(); ++index) {
        REQUIRE(rig.hand_over(exchanges[index], 1ms).empty());
        CHECK(std::ranges::equal(decode(rig.message).packet, asked[index]));
    }
}

TEST_CASE("newest wins: a repeated request takes the waiting one's place")
{
    ClientRig rig;
    CHECK(rig.take(request(), 0s, false).empty());
    const auto before = rig.last;
    CHECK(rig.take(request(), 100ms, false).empty());
    CHECK(rig.shim.waiting() == 1);
    CHECK(rig.drops(DropReason::replaced) == 1);
    rig.open();
    CHECK(rig.hand_over(before, 100ms) == "no_exchange"); // a stale handle
    CHECK(rig.hand_over(100ms).empty());
}

TEST_CASE("newest wins: a repeated request takes the open one's place")
{
    ClientRig rig;
    rig.open();
    rig.ask(request(), 0s);
    const auto late = rig.frame(packet(answer_to(request())));
    rig.ask(request(), 100ms);
    CHECK(rig.counters.exchanges.replaced == 1);
    CHECK(rig.shim.outstanding(1) == 1);
    CHECK(rig.receive(late, 101ms) == "no_exchange");
    CHECK(rig.answer(answer_to(request()), 102ms).empty());
}

TEST_CASE("another port, address, listener, zone or stamp is no repetition")
{
    ClientRig rig;
    auto from = endpoint();
    CHECK(rig.take(request(), 0s, false, from).empty());
    from.port = 40001;
    CHECK(rig.take(request(), 0s, false, from).empty());
    from.listener = 1;
    CHECK(rig.take(request(), 0s, false, from).empty());
    from.scope = 2;
    CHECK(rig.take(request(), 0s, false, from).empty());
    from.local = ipv4(127, 0, 0, 3);
    CHECK(rig.take(request(), 0s, false, from).empty());
    from.address = ipv4(127, 0, 0, 9);
    CHECK(rig.take(request(), 0s, false, from).empty());
    CHECK(rig.take(numbered(1), 0s, false, from).empty());
    CHECK(rig.shim.waiting() == 7);
}

TEST_CASE("a client asks no more than its rate")
{
    ClientRig rig(limited({.per_client = 0, .requests_per_second_per_client = 10}));
    for (std::uint64_t number = 0; number < 10; ++number) {
        CHECK(rig.take(numbered(number), 0s).empty());
    }
    CHECK(rig.take(numbered(10), 99ms) == "rate_limited");
    CHECK(rig.take(numbered(10), 99ms, true, from_address(ipv4(127, 0, 0, 9))).empty());
    CHECK(rig.take(numbered(10), 100ms).empty());
}

TEST_CASE("what is no request costs its sender nothing")
{
    ClientRig rig(limited({.requests_per_second_per_client = 1}));
    CHECK(rig.take(request({.mode = 6}), 0s) == "bad_mode");
    CHECK(rig.take(request(), 0s).empty());
    CHECK(rig.take(numbered(1), 0s) == "rate_limited");
}

TEST_CASE("a client has no more exchanges than its limit, waiting ones and open ones together")
{
    ClientRig rig(limited({.per_client = 3}));
    rig.open();
    rig.ask(numbered(1), 0s);
    rig.ask(numbered(2), 0s);
    CHECK(rig.take(numbered(3), 0s, true, endpoint(50000)).empty());
    CHECK(rig.take(numbered(4), 0s) == "client_limit");
    CHECK(rig.take(numbered(4), 0s, true, from_address(ipv4(127, 0, 0, 9))).empty());
    CHECK(rig.take(numbered(2), 0s).empty()); // a repetition needs no room of its own
    CHECK(rig.take(numbered(4), 0s) == "client_limit");
    rig.expire(600ms);
    CHECK(rig.take(numbered(4), 600ms).empty());
}

TEST_CASE("the tunnel has no more exchanges than its limit")
{
    ClientRig rig(limited({.exchanges = 2}));
    CHECK(rig.take(numbered(1), 0s).empty());
    CHECK(rig.take(numbered(2), 0s).empty());
    CHECK(rig.take(numbered(3), 0s) == "exchange_limit");
    CHECK(rig.take(numbered(2), 0s).empty());
    rig.shim.refuse(rig.last, DropReason::congested);
    CHECK(rig.take(numbered(3), 0s).empty());
}

TEST_CASE("a channel has no more exchanges than its limit")
{
    ClientRig rig(limited({.per_channel = 2}));
    rig.open(1);
    rig.open(2);
    rig.ask(numbered(1), 0s);
    rig.ask(numbered(2), 0s);
    CHECK(rig.take(numbered(3), 0s).empty());
    CHECK(rig.hand_over(0s) == "channel_limit");
    CHECK(rig.take(numbered(4), 0s).empty());
    CHECK(rig.hand_over(0s, 2).empty());
}

TEST_CASE("zero is no limit")
{
    ClientRig rig(limited({.exchanges = 0, .per_channel = 0, .per_client = 0, .requests_per_second_per_client = 0}));
    rig.open();
    for (std::uint64_t number = 0; number < 5000; ++number) {
        rig.ask(numbered(number), 0s);
    }
    CHECK(rig.shim.outstanding(1) == 5000);
}

TEST_CASE("what the carrier refuses was never sent")
{
    ClientRig rig;
    rig.open();
    rig.ask(request(), 0s);
    const auto reply = rig.frame(packet(answer_to(request())));
    rig.shim.refuse(rig.last, DropReason::congested);
    rig.check_sums();
    CHECK(rig.counters.requests.forwarded == 0);
    CHECK(rig.drops(DropReason::congested) == 1);
    CHECK(rig.counters.exchanges.opened == 0);
    CHECK(rig.shim.open() == 0);
    rig.shim.refuse(rig.last, DropReason::congested); // stale: counted already
    CHECK(rig.drops(DropReason::congested) == 1);
    CHECK(rig.receive(reply, 1ms) == "no_exchange");
}

TEST_CASE("a waiting request can be refused")
{
    ClientRig rig;
    CHECK(rig.take(request(), 0s, false).empty());
    rig.shim.refuse(rig.last, DropReason::raw_busy);
    rig.check_sums();
    CHECK(rig.drops(DropReason::raw_busy) == 1);
    CHECK(rig.shim.open() == 0);
}

TEST_CASE("a request is handed over once, and to an open channel")
{
    ClientRig rig;
    rig.open();
    rig.ask(request(), 0s);
    CHECK(rig.hand_over(0s) == "no_exchange");
    CHECK(rig.counters.requests.forwarded == 1);
    CHECK(rig.take(numbered(1), 0s).empty());
    CHECK(rig.hand_over(0s, 77) == "channel_lost");
    CHECK(rig.drops(DropReason::channel_lost) == 1);
}

TEST_CASE("a channel's end abandons what was sent on it, and nothing else")
{
    ClientRig rig;
    rig.open(1);
    rig.open(2);
    rig.ask(numbered(1), 0s);
    const auto lost = rig.frame(packet(answer_to(numbered(1))));
    CHECK(rig.take(numbered(2), 0s).empty());
    CHECK(rig.hand_over(0s, 2).empty());
    CHECK(rig.take(numbered(3), 0s, false).empty());
    rig.shim.close_channel(1);
    rig.check_sums();
    CHECK(rig.counters.exchanges.abandoned == 1);
    CHECK(rig.shim.outstanding(1) == 0);
    CHECK(rig.shim.outstanding(2) == 1);
    CHECK(rig.shim.waiting() == 1);
    CHECK(rig.receive(lost, 1ms) == "no_exchange");
    rig.open(1);
    CHECK(rig.receive(lost, 1ms) == "no_exchange");
    rig.shim.close_channel(99);
    rig.check_sums();
}

TEST_CASE("an exchange that is not answered within max-round-trip is lost")
{
    ClientRig rig;
    rig.open();
    rig.ask(request(), 0s);
    CHECK(rig.shim.next_deadline(0s) == at(200ms).boot); // a ping first
    rig.expire(1s);
    CHECK(rig.shim.outstanding(1) == 1);
    rig.expire(1s + 1ns);
    CHECK(rig.shim.outstanding(1) == 0);
    CHECK(rig.counters.exchanges.lost == 1);
    CHECK(rig.answer(answer_to(request()), 1s + 2ns) == "no_exchange");
}

TEST_CASE("max-round-trip runs from receipt, not from hand-over")
{
    ClientRig rig;
    rig.open();
    CHECK(rig.take(request(), 0s, false).empty());
    CHECK(rig.hand_over(400ms).empty());
    rig.expire(1s + 1ns);
    CHECK(rig.counters.exchanges.lost == 1);
}

TEST_SUITE_END();
