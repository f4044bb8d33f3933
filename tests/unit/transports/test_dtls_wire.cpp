#include <vector>

#include <doctest/doctest.h>

#include "transports/dtls_record.hpp"
#include "transports/dtls_wire.hpp"

using namespace transports;

namespace {

using Bytes = std::vector<std::byte>;

/// A record of `size` octets, header included.
Bytes record(std::size_t size)
{
    Bytes out(size);
    const std::size_t fragment = size - kRecordHeader;
    out[0] = std::byte{22};
    out[1] = std::byte{0xFE};
    out[2] = std::byte{0xFD};
    out[11] = static_cast<std::byte>(fragment >> 8U);
    out[12] = static_cast<std::byte>(fragment & 0xFFU);
    return out;
}

/// How long the datagrams are in which records of these sizes leave, written at once to a wire for `payload` octets.
std::vector<std::size_t> sent(std::size_t payload, const std::vector<std::size_t>& sizes)
{
    DatagramWire wire{{payload, false, {}}};
    Bytes all;
    for (const std::size_t size : sizes) {
        const Bytes one = record(size);
        all.insert(all.end(), one.begin(), one.end());
    }
    wire.write(all);
    std::vector<std::size_t> out;
    Bytes together;
    while (const auto datagram = wire.next_output()) {
        out.push_back(datagram->size());
        together.insert(together.end(), datagram->begin(), datagram->end());
    }
    CHECK(together == all);
    return out;
}

using Sizes = std::vector<std::size_t>;

} // namespace

TEST_SUITE_BEGIN("dtls_wire");

TEST_CASE("records that fit the path together stay together")
{
    CHECK(sent(228, {100, 128}) == Sizes{228});
    CHECK(sent(228, {14}) == Sizes{14});
}

TEST_CASE("a datagram too long for the path is cut between records")
{
    CHECK(sent(228, {100, 129}) == Sizes{100, 129});
    CHECK(sent(228, {153, 14, 61}) == Sizes{228});
    CHECK(sent(228, {154, 14, 61}) == Sizes{168, 61});
    CHECK(sent(100, {60, 60, 40, 100}) == Sizes{60, 100, 100});
}

TEST_CASE("a single record is never cut, and what is no record leaves as it is")
{
    CHECK(sent(100, {101}) == Sizes{101});
    CHECK(sent(100, {101, 50}) == Sizes{101, 50});
    CHECK(sent(100, {50, 101}) == Sizes{50, 101});
    DatagramWire wire{{10, false, {}}};
    wire.write(Bytes(25));
    CHECK(wire.next_output().value().size() == 25);
    CHECK_FALSE(wire.next_output());
}

TEST_SUITE_END();
