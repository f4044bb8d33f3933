#include "ntp-shim/raw_splitter.hpp"

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::RawSplitter;
using Direction = RawSplitter::Direction;
using namespace packets;

namespace {

Octets join(const std::vector<Octets>& parts)
{
    Octets all;
    for (const auto& part : parts) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

/// What a record is cut into, copied.
std::vector<Octets> split(RawSplitter& splitter, Bytes record, ntp_shim::Nanoseconds t = 0s)
{
    std::vector<Octets> found;
    for (const auto& part : splitter.split(record, at(t))) {
        found.push_back(copy(part));
    }
    return found;
}

std::vector<Octets> only(const Octets& one)
{
    return std::vector<Octets>(1, one);
}

Octets numbered(std::uint64_t number)
{
    return request({.transmit = number});
}

} // namespace

TEST_SUITE_BEGIN("raw_splitter");

TEST_CASE("three requests that came as one record are three packets")
{
    RawSplitter splitter(Direction::requests);
    const std::vector<Octets> three{numbered(1), numbered(2), numbered(3)};
    CHECK(split(splitter, join(three)) == three);
    CHECK_FALSE(splitter.partial());
}

TEST_CASE("a block with another mode or version makes the record one packet")
{
    for (const auto& odd : {request({.mode = 4}), request({.version = 0}), request({.version = 5})}) {
        RawSplitter splitter(Direction::requests);
        const auto record = join({numbered(1), odd});
        CHECK(split(splitter, record) == only(record));
    }
    RawSplitter splitter(Direction::requests);
    const auto record = join({numbered(1), request({.version = 1})});
    CHECK(split(splitter, record).size() == 2);
}

TEST_CASE("replies are cut by mode 4")
{
    const auto two = join({request({.mode = 4}), request({.mode = 4})});
    RawSplitter replies(Direction::replies);
    CHECK(split(replies, two).size() == 2);
    RawSplitter requests(Direction::requests);
    CHECK(split(requests, two).size() == 1);
}

TEST_CASE("a packet with a MAC is one packet")
{
    RawSplitter splitter(Direction::requests);
    const auto sealed = request({.tail = noise(20)});
    CHECK(split(splitter, sealed) == only(sealed));
    auto tail = noise(24);
    tail.front() = request().front(); // a key id that looks like the beginning of a request
    CHECK(split(splitter, request({.tail = tail})) == only(request({.tail = tail})));
}

TEST_CASE("a packet in pieces is put together, one octet at a time as well")
{
    RawSplitter splitter(Direction::requests);
    const auto whole = numbered(5);
    for (std::size_t position = 0; position < 47; ++position) {
        CHECK(split(splitter, Bytes{whole}.subspan(position, 1)).empty());
        CHECK(splitter.partial());
    }
    CHECK(split(splitter, Bytes{whole}.subspan(47)) == only(whole));
    CHECK_FALSE(splitter.partial());
    CHECK(split(splitter, whole) == only(whole));
}

TEST_CASE("47 octets wait and 48 do not")
{
    RawSplitter splitter(Direction::requests);
    CHECK(split(splitter, noise(48)).size() == 1);
    CHECK(split(splitter, noise(47)).empty());
    CHECK(splitter.partial());
}

TEST_CASE("the blocks behind a completed packet are packets too")
{
    RawSplitter splitter(Direction::requests);
    const std::vector<Octets> three{numbered(1), numbered(2), numbered(3)};
    const auto stream = join(three);
    CHECK(split(splitter, Bytes{stream}.first(20)).empty());
    CHECK(split(splitter, Bytes{stream}.subspan(20)) == three);
}

TEST_CASE("a completed packet with a MAC keeps it")
{
    RawSplitter splitter(Direction::requests);
    const auto sealed = request({.tail = noise(24)});
    CHECK(split(splitter, Bytes{sealed}.first(1)).empty());
    CHECK(split(splitter, Bytes{sealed}.subspan(1)) == only(sealed));
}

TEST_CASE("no more is kept than shows that a packet is too long")
{
    RawSplitter splitter(Direction::requests);
    CHECK(split(splitter, noise(10)).empty());
    const auto parts = split(splitter, noise(16384));
    REQUIRE(parts.size() == 1);
    CHECK(parts.front().size() == ntp_shim::kMaxPacket + 1);
    CHECK(split(splitter, noise(10)).empty());
    CHECK(split(splitter, noise(1014)).front().size() == 1024);
}

TEST_CASE("a rest that does not come within 50 ms is given up")
{
    RawSplitter splitter(Direction::requests);
    CHECK_FALSE(splitter.next_deadline().has_value());
    CHECK(split(splitter, noise(10), 1s).empty());
    CHECK(split(splitter, noise(10), 1040ms).empty()); // more of it is no new beginning
    CHECK(splitter.next_deadline() == at(1050ms).boot);
    CHECK_FALSE(splitter.expire(at(1050ms - 1ns)));
    CHECK(splitter.partial());
    CHECK(splitter.expire(at(1050ms)));
    CHECK_FALSE(splitter.partial());
    CHECK_FALSE(splitter.expire(at(2s)));
    CHECK(split(splitter, numbered(1), 2s) == only(numbered(1)));
}

TEST_CASE("an empty record is nothing")
{
    RawSplitter splitter(Direction::requests);
    CHECK(split(splitter, {}).empty());
    CHECK_FALSE(splitter.partial());
}

TEST_SUITE_END();
