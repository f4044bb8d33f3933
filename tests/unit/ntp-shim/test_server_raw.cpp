// The server role under raw framing: its peers are legacy pipes, so it corrects and judges all that its clients see.
#include "tests/unit/ntp-shim/server_rig.hpp"

using ntp_shim::ServerPolicy;
using namespace packets;

namespace {

struct RawServer : ServerRig {
    explicit RawServer(const ServerPolicy& policy = raw()) : ServerRig(policy) {}
    std::string take(Bytes octets, Nanoseconds t, std::uint64_t fresh = 99, Nanoseconds now = 0s)
    {
        return receive(octets, t, now, 1, fresh);
    }
};

} // namespace

TEST_SUITE_BEGIN("server_raw");

TEST_CASE("a reply is the packet itself, with the client's stamp as origin")
{
    RawServer rig;
    CHECK(rig.take(request(), 0s, 0x1234).empty());
    CHECK(parse(rig.to_daemon).transmit == 0x1234);
    CHECK(rig.answer(answer_to(rig.to_daemon), 1ms).empty());
    CHECK(rig.to_channel == packet(answer_to(request())));
    CHECK(rig.channel == 1);
}

TEST_CASE("our own holds are corrected")
{
    RawServer rig;
    CHECK(rig.take(request(), 0s, 1, 250ms).empty());
    CHECK(rig.answer(answer_to(rig.to_daemon), 300ms, 425ms).empty());
    CHECK(parse(rig.to_channel).receive == kT2 - (1ULL << 30));
    CHECK(parse(rig.to_channel).transmit == kT3 + (1ULL << 29));
    auto policy = RawServer::raw();
    policy.correct_hold = false;
    RawServer uncorrected(policy);
    CHECK(uncorrected.take(request(), 0s, 1, 250ms).empty());
    CHECK(uncorrected.answer(answer_to(uncorrected.to_daemon), 300ms, 425ms).empty());
    CHECK(uncorrected.to_channel == packet(answer_to(request())));
}

TEST_CASE("T3 before T2 is refused")
{
    RawServer rig;
    CHECK(rig.take(request(), 0s, 1).empty());
    auto reply = answer_to(rig.to_daemon);
    reply.transmit = reply.receive - 1;
    CHECK(rig.answer(reply, 1ms) == "implausible_hold");
}

TEST_CASE("the same request may be open any number of times")
{
    RawServer rig;
    CHECK(rig.take(request(), 0s, 1).empty());
    CHECK(rig.take(request(), 0s, 2).empty());
    CHECK(rig.take(request(), 0s, 2).empty());
    CHECK(rig.shim.open(1) == 3);
}

TEST_CASE("what cannot be corrected is not held")
{
    const auto sealed = request({.tail = noise(20)});
    auto reply = answer_to(sealed);
    reply.tail = noise(20);
    RawServer quick;
    CHECK(quick.take(sealed, 0s, 1, 2ms).empty());
    CHECK(quick.answer(reply, 10ms, 13ms - 1ns).empty());
    CHECK(quick.to_channel == packet(reply));
    RawServer held;
    CHECK(held.take(sealed, 0s, 1, 2ms).empty());
    CHECK(held.answer(reply, 10ms, 13ms + 1us) == "held_too_long");
    RawServer interleaved;
    CHECK(interleaved.take(interleaved_request(), 0s, 1, 2ms).empty());
    auto answer = answer_to(interleaved_request());
    answer.origin = parse(interleaved_request()).receive;
    CHECK(interleaved.answer(answer, 10ms, 14ms) == "held_too_long");
}

TEST_CASE("what is no request is dropped")
{
    RawServer rig;
    CHECK(rig.take(zeros(47), 0s) == "too_short");
    CHECK(rig.take(request({.tail = noise(977)}), 0s) == "too_long");
    CHECK(rig.take(request({.mode = 4}), 0s) == "bad_mode");
    CHECK(rig.take(request({.version = 5}), 0s) == "bad_version");
    CHECK(rig.take(request({.tail = noise(976)}), 0s).empty());
}

TEST_CASE("kisses and crypto-NAKs do not reach legacy clients; an unsynchronised reply does")
{
    RawServer rig;
    CHECK(rig.take(request(), 0s, 1).empty());
    auto reply = answer_to(rig.to_daemon);
    reply.stratum = 0;
    reply.reference_id = 0x44454e59;
    CHECK(rig.answer(reply, 1ms) == "kiss_of_death");
    CHECK(rig.take(request(), 0s, 2).empty());
    reply = answer_to(rig.to_daemon);
    reply.tail = zeros(4);
    CHECK(rig.answer(reply, 1ms) == "crypto_nak");
    CHECK(rig.take(request(), 0s, 3).empty());
    reply = answer_to(rig.to_daemon);
    reply.leap = 3;
    CHECK(rig.answer(reply, 1ms).empty());
    CHECK(rig.take(request(), 0s, 4).empty());
    reply = answer_to(rig.to_daemon);
    reply.receive = 0;
    CHECK(rig.answer(reply, 1ms) == "zero_stamp");
}

TEST_CASE("there is no goodbye")
{
    RawServer rig;
    CHECK(rig.shim.make_goodbye(1, at(1s)).empty());
}

TEST_SUITE_END();
