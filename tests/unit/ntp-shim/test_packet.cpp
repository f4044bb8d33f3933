#include "ntp-shim/packet.hpp"

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::Packet;
using namespace packets;

namespace {

Packet with_tail(std::size_t octets, std::uint8_t version = 4)
{
    static Octets kept; // the parsed packet is a view
    kept = packet({.version = version, .tail = noise(octets)});
    return parse(kept);
}

Packet with_reference_id(std::uint32_t id, std::uint8_t stratum = 0)
{
    return parse(packet({.mode = 4, .stratum = stratum, .reference_id = id}));
}

} // namespace

TEST_SUITE_BEGIN("packet");

TEST_CASE("every field is where RFC 5905 puts it")
{
    const auto octets = packet({.leap = 2,
                                .version = 3,
                                .mode = 4,
                                .stratum = 5,
                                .poll = 7,
                                .reference_id = 0xc0000201,
                                .origin = 0x1111111122222222,
                                .receive = 0x3333333344444444,
                                .transmit = 0x5555555566666666,
                                .tail = noise(3)});
    CHECK(octets[0] == std::byte{0b10'011'100});
    const auto parsed = parse(octets);
    CHECK(parsed.leap == 2);
    CHECK(parsed.version == 3);
    CHECK(parsed.mode == 4);
    CHECK(parsed.stratum == 5);
    CHECK(parsed.poll == 7);
    CHECK(parsed.precision == 0xec);
    CHECK(parsed.reference_id == 0xc0000201);
    CHECK(parsed.origin == 0x1111111122222222);
    CHECK(parsed.receive == 0x3333333344444444);
    CHECK(parsed.transmit == 0x5555555566666666);
    CHECK(std::ranges::equal(parsed.after_header, noise(3)));
}

TEST_CASE("a header is 48 octets, and 47 are none")
{
    CHECK(Packet::parse(zeros(48)).has_value());
    CHECK_FALSE(Packet::parse(zeros(47)).has_value());
    CHECK_FALSE(Packet::parse({}).has_value());
}

TEST_CASE("a single octet after the header makes a packet uncorrectable")
{
    CHECK(with_tail(0).is_header_only());
    CHECK_FALSE(with_tail(1).is_header_only());
}

TEST_CASE("a MAC of 20 or 24 octets is no extension field, and version 3 has none")
{
    CHECK_FALSE(with_tail(15).has_extension_fields());
    CHECK(with_tail(16).has_extension_fields());
    CHECK_FALSE(with_tail(20).has_extension_fields());
    CHECK_FALSE(with_tail(24).has_extension_fields());
    CHECK(with_tail(28).has_extension_fields());
    CHECK_FALSE(with_tail(28, 3).has_extension_fields());
}

TEST_CASE("a crypto-NAK is exactly four zero octets")
{
    const auto is_nak = [](Octets tail) {
        const auto octets = packet({.mode = 4, .tail = std::move(tail)});
        return parse(octets).is_crypto_nak();
    };
    CHECK(is_nak(zeros(4)));
    CHECK_FALSE(is_nak(zeros(3)));
    CHECK_FALSE(is_nak(zeros(5)));
    CHECK_FALSE(is_nak(zeros(0)));
    CHECK_FALSE(is_nak({std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}}));
}

TEST_CASE("a kiss is stratum 0 with letters, left-justified and zero-filled")
{
    CHECK(with_reference_id(0x52415445).is_kiss()); // RATE
    CHECK(with_reference_id(0x58000000).is_kiss()); // X
    CHECK_FALSE(with_reference_id(0x52415445, 1).is_kiss());
    CHECK_FALSE(with_reference_id(0).is_kiss());
    CHECK_FALSE(with_reference_id(0x52005445).is_kiss()); // a gap
    CHECK_FALSE(with_reference_id(0x7f000001).is_kiss()); // an address
    CHECK_FALSE(with_reference_id(0x20415445).is_kiss()); // a space
}

TEST_CASE("leap 3, stratum 0 and stratum 16 are unsynchronised; stratum 15 is not")
{
    const auto unsynchronised = [](std::uint8_t leap, std::uint8_t stratum) {
        return parse(packet({.leap = leap, .mode = 4, .stratum = stratum})).is_unsynchronised();
    };
    CHECK(unsynchronised(3, 2));
    CHECK_FALSE(unsynchronised(2, 2));
    CHECK(unsynchronised(0, 0));
    CHECK_FALSE(unsynchronised(0, 1));
    CHECK_FALSE(unsynchronised(0, 15));
    CHECK(unsynchronised(0, 16));
    CHECK(unsynchronised(0, 255));
}

TEST_CASE("a reply may be interleaved when all three stamps are non-zero and different")
{
    const auto may = [](std::uint64_t origin, std::uint64_t receive, std::uint64_t transmit) {
        return parse(packet({.origin = origin, .receive = receive, .transmit = transmit})).may_be_interleaved();
    };
    CHECK(may(1, 2, 3));
    CHECK_FALSE(may(0, 2, 3));
    CHECK_FALSE(may(1, 0, 3));
    CHECK_FALSE(may(1, 2, 0));
    CHECK_FALSE(may(1, 1, 3));
    CHECK_FALSE(may(1, 2, 2));
    CHECK_FALSE(may(3, 2, 3));
}

TEST_CASE("writing a stamp changes its eight octets and no other")
{
    const auto before = packet({.origin = 1, .receive = 2, .transmit = 3, .tail = noise(4)});
    auto after = before;
    write_stamp(after, ntp_shim::StampField::receive, 0xffffffffffffffff);
    CHECK(parse(after).receive == 0xffffffffffffffff);
    write_stamp(after, ntp_shim::StampField::receive, 2);
    CHECK(after == before);
    write_stamp(after, ntp_shim::StampField::origin, 5);
    write_stamp(after, ntp_shim::StampField::transmit, 6);
    CHECK(parse(after).origin == 5);
    CHECK(parse(after).transmit == 6);
}

TEST_SUITE_END();
