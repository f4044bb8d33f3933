#include "ntp-shim/filter.hpp"

#include <initializer_list>
#include <string>

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::check_length;
using ntp_shim::check_source;
using ntp_shim::ReplyRules;
using ntp_shim::SentRequest;
using namespace packets;

namespace {

using Values = std::initializer_list<std::uint8_t>;

std::string request_fault(std::uint8_t version, std::uint8_t mode)
{
    return word(check_request(parse(packet({.version = version, .mode = mode}))));
}

std::string reply_fault(const Octets& asked, const Fields& reply, ReplyRules rules = {})
{
    const auto octets = packet(reply);
    return word(check_reply(SentRequest::of(parse(asked)), parse(octets), rules));
}

} // namespace

TEST_SUITE_BEGIN("filter");

TEST_CASE("a packet has 48 to 1024 octets")
{
    CHECK(word(check_length({})) == "too_short");
    CHECK(word(check_length(zeros(47))) == "too_short");
    CHECK(word(check_length(zeros(48))).empty());
    CHECK(word(check_length(zeros(1024))).empty());
    CHECK(word(check_length(zeros(1025))) == "too_long");
}

TEST_CASE("nobody can be answered at port 0 or at an address that is not one host's")
{
    CHECK(word(check_source(ipv4(192, 0, 2, 1), 123)).empty());
    CHECK(word(check_source(ipv4(192, 0, 2, 1), 1)).empty());
    CHECK(word(check_source(ipv4(192, 0, 2, 1), 0)) == "bad_source");
    CHECK(word(check_source(ipv4(0, 0, 0, 0), 123)) == "bad_source");
    CHECK(word(check_source(ipv4(0, 0, 0, 1), 123)).empty());
    CHECK(word(check_source(ipv4(223, 255, 255, 255), 123)).empty());
    CHECK(word(check_source(ipv4(224, 0, 0, 0), 123)) == "bad_source");
    CHECK(word(check_source(ipv4(239, 255, 255, 255), 123)) == "bad_source");
    CHECK(word(check_source(ipv4(240, 0, 0, 0), 123)).empty());
    CHECK(word(check_source(ipv4(255, 255, 255, 254), 123)).empty());
    CHECK(word(check_source(ipv4(255, 255, 255, 255), 123)) == "bad_source");
    CHECK(word(check_source(ipv6(0, 0), 123)) == "bad_source");
    CHECK(word(check_source(ipv6(0, 1), 123)).empty());
    CHECK(word(check_source(ipv6(0xfe80000000000000, 1), 123)).empty());
    CHECK(word(check_source(ipv6(0xfeff000000000000, 1), 123)).empty());
    CHECK(word(check_source(ipv6(0xff00000000000000, 0), 123)) == "bad_source");
    CHECK(word(check_source(ipv6(0xff02000000000000, 0x101), 123)) == "bad_source");
}

TEST_CASE("a request has version 1 to 4 and mode 3")
{
    CHECK(request_fault(0, 3) == "bad_version");
    for (const auto version : Values{1, 2, 3, 4}) {
        CHECK(request_fault(version, 3).empty());
    }
    for (const auto version : Values{5, 6, 7}) {
        CHECK(request_fault(version, 3) == "bad_version");
    }
    for (const auto mode : Values{0, 1, 2, 4, 5, 6, 7}) {
        CHECK(request_fault(4, mode) == "bad_mode");
    }
}

TEST_CASE("a good reply passes")
{
    CHECK(reply_fault(request(), answer_to(request())).empty());
}

TEST_CASE("a reply has mode 4")
{
    for (const auto mode : Values{0, 1, 2, 3, 5, 6, 7}) {
        auto reply = answer_to(request());
        reply.mode = mode;
        CHECK(reply_fault(request(), reply) == "bad_mode");
    }
}

TEST_CASE("a reply has the request's version")
{
    auto reply = answer_to(request({.version = 3}));
    CHECK(reply_fault(request({.version = 3}), reply).empty());
    reply.version = 4;
    CHECK(reply_fault(request({.version = 3}), reply) == "bad_version");
}

TEST_CASE("a reply's origin is the request's transmit stamp")
{
    auto reply = answer_to(request());
    reply.origin ^= 1;
    CHECK(reply_fault(request(), reply) == "bad_origin");
}

TEST_CASE("or its receive stamp, when the reply may be interleaved")
{
    auto reply = answer_to(interleaved_request());
    reply.origin = parse(interleaved_request()).receive;
    CHECK(reply_fault(interleaved_request(), reply).empty());
    reply.origin = parse(interleaved_request()).origin;
    CHECK(reply_fault(interleaved_request(), reply) == "bad_origin");
    const auto plain = request({.receive = 0xbbbb}); // origin zero: a client in basic mode
    reply.origin = 0xbbbb;
    CHECK(reply_fault(plain, reply) == "bad_origin");
}

TEST_CASE("a crypto-NAK never passes")
{
    auto reply = answer_to(request());
    reply.tail = zeros(4);
    CHECK(reply_fault(request(), reply, {.pass_kisses = true, .pass_unsynchronised = true}) == "crypto_nak");
}

TEST_CASE("a kiss passes only where kisses do, with or without stamps")
{
    auto reply = answer_to(request());
    reply.stratum = 0;
    reply.reference_id = 0x44454e59; // DENY
    CHECK(reply_fault(request(), reply) == "kiss_of_death");
    CHECK(reply_fault(request(), reply, {.pass_unsynchronised = true}) == "kiss_of_death");
    CHECK(reply_fault(request(), reply, {.pass_kisses = true}).empty());
    reply.leap = 3;
    reply.receive = 0;
    reply.transmit = 0;
    CHECK(reply_fault(request(), reply) == "kiss_of_death");
    CHECK(reply_fault(request(), reply, {.pass_kisses = true}).empty());
}

TEST_CASE("neither T2 nor T3 is zero")
{
    auto reply = answer_to(request());
    reply.receive = 0;
    CHECK(reply_fault(request(), reply) == "zero_stamp");
    reply.receive = 1;
    CHECK(reply_fault(request(), reply).empty());
    reply.transmit = 0;
    CHECK(reply_fault(request(), reply) == "zero_stamp");
}

TEST_CASE("a reply is no longer than its request, unless that had extension fields")
{
    const auto length_fault = [](std::size_t asked, std::size_t answered) {
        const auto octets = request({.tail = noise(asked)});
        auto reply = answer_to(octets);
        reply.tail = noise(answered);
        return reply_fault(octets, reply);
    };
    CHECK(length_fault(0, 1) == "reply_too_long");
    CHECK(length_fault(20, 20).empty());
    CHECK(length_fault(20, 24) == "reply_too_long");
    CHECK(length_fault(24, 20).empty());
    CHECK(length_fault(28, 64).empty());
}

TEST_CASE("an unsynchronised reply passes only where asked for")
{
    for (const auto stratum : Values{0, 16, 255}) {
        auto reply = answer_to(request());
        reply.stratum = stratum;
        reply.reference_id = 0;
        CHECK(reply_fault(request(), reply) == "unsynchronised");
        CHECK(reply_fault(request(), reply, {.pass_kisses = true}) == "unsynchronised");
        CHECK(reply_fault(request(), reply, {.pass_unsynchronised = true}).empty());
    }
    auto reply = answer_to(request());
    reply.leap = 3;
    CHECK(reply_fault(request(), reply) == "unsynchronised");
}

TEST_CASE("what only looks like an answer does not end the exchange")
{
    using enum ntp_shim::DropReason;
    for (const auto reason : {bad_mode, bad_version, bad_origin, zero_stamp, reply_too_long, too_late}) {
        CHECK_FALSE(ends_exchange(reason));
    }
    for (const auto reason :
         {crypto_nak, kiss_of_death, unsynchronised, implausible_hold, held_too_long, too_old, hold_overflow}) {
        CHECK(ends_exchange(reason));
    }
}

TEST_SUITE_END();
