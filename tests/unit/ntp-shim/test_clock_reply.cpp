#include "ntp-shim/clock_reply.hpp"

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::clock_reply;
using ntp_shim::ntp_timestamp;
using ntp_shim::seconds_between;
using namespace packets;

TEST_SUITE_BEGIN("clock_reply");

TEST_CASE("the Unix epoch is 2208988800 seconds into era 0")
{
    CHECK(ntp_timestamp(0s) == 2208988800ULL << 32);
    CHECK(ntp_timestamp(1s + 500ms) == ((2208988801ULL << 32) | 0x80000000));
    CHECK(ntp_timestamp(-500ms) == ((2208988799ULL << 32) | 0x80000000));
}

TEST_CASE("era 1 begins in February 2036")
{
    constexpr auto kEra1 = std::chrono::seconds{(1LL << 32) - 2208988800}; // 2036-02-07 06:28:16 UTC
    CHECK(ntp_timestamp(kEra1) == 0);
    CHECK(ntp_timestamp(kEra1 + 3s) == 3ULL << 32);
    CHECK(ntp_timestamp(kEra1 - 1s) == 0xffffffffULL << 32);
    CHECK(seconds_between(ntp_timestamp(kEra1 + 3s), ntp_timestamp(kEra1 - 1s)) == doctest::Approx(4.0));
    CHECK(seconds_between(ntp_timestamp(kEra1 - 1s), ntp_timestamp(kEra1 + 3s)) == doctest::Approx(-4.0));
}

TEST_CASE("a nanosecond below a second rounds to the nearest tick")
{
    CHECK(ntp_timestamp(999999999ns) == ((2208988800ULL << 32) | 0xfffffffc));
}

TEST_CASE("the reply answers its request")
{
    const auto asked = request({.version = 3, .poll = 9, .transmit = 0x123456789abcdef0});
    const auto reply = clock_reply(asked, {}, 0xeb00000012345678, 0xeb00000023456789);
    const auto parsed = parse(reply);
    CHECK(parsed.leap == 0);
    CHECK(parsed.version == 3);
    CHECK(parsed.mode == 4);
    CHECK(parsed.stratum == 10);
    CHECK(parsed.poll == 9);
    CHECK(parsed.precision == 0xec); // -20
    CHECK(parsed.reference_id == 0x4c4f434c);
    CHECK(parsed.origin == 0x123456789abcdef0);
    CHECK(parsed.receive == 0xeb00000012345678);
    CHECK(parsed.transmit == 0xeb00000023456789);
    CHECK(parsed.is_header_only());
}

TEST_CASE("root delay is zero, root dispersion 10 ms, reference time the receive stamp's second")
{
    const auto reply = clock_reply(request(), {}, 0xeb00000012345678, 0xeb00000023456789);
    ntp_shim::ByteReader reader(reply);
    CHECK(reader.u32() == 0x240a06ec);
    CHECK(reader.u32() == 0);
    CHECK(reader.u32() == 655); // 10 ms in 16.16
    CHECK(reader.u32() == 0x4c4f434c);
    CHECK(reader.u64() == 0xeb00000000000000);
}

TEST_CASE("a lab's header is written as it is given")
{
    const ntp_shim::ClockHeader header{
        .stratum = 2, .leap = 1, .precision = -6, .root_dispersion = 100h, .reference_id = {'G', 'P', 'S', '\0'}};
    const auto reply = clock_reply(request(), header, 1, 2);
    const auto parsed = parse(reply);
    CHECK(parsed.leap == 1);
    CHECK(parsed.stratum == 2);
    CHECK(parsed.precision == 0xfa);
    CHECK(parsed.reference_id == 0x47505300);
    ntp_shim::ByteReader reader(reply);
    (void)reader.u64();
    CHECK(reader.u32() == 0xffff0000); // the most that 16.16 takes, in whole seconds
}

TEST_SUITE_END();
