#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "transports/dtls_record.hpp"

using namespace transports;

namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes(std::initializer_list<int> octets)
{
    Bytes out;
    for (const int octet : octets) {
        out.push_back(static_cast<std::byte>(octet));
    }
    return out;
}

Bytes record(int type, int epoch, int number, const Bytes& fragment)
{
    Bytes out = bytes({type, 0xFE, 0xFD, epoch >> 8, epoch & 0xFF, 0, 0, 0, 0, number >> 8, number & 0xFF,
                       static_cast<int>(fragment.size() >> 8U), static_cast<int>(fragment.size() & 0xFFU)});
    out.insert(out.end(), fragment.begin(), fragment.end());
    return out;
}

/// A ClientHello up to its random, as a fragment that begins at `offset`.
Bytes hello(int type, int offset, int first)
{
    Bytes out = bytes({type, 0, 0, 34, 0, 0, offset >> 16, offset >> 8 & 0xFF, offset & 0xFF, 0, 0, 34, 0xFE, 0xFD});
    for (int i = 0; i < 32; ++i) {
        out.push_back(static_cast<std::byte>(first + i));
    }
    return out;
}

} // namespace

TEST_SUITE_BEGIN("dtls_record");

TEST_CASE("records are taken one after another, as they stand in the datagram")
{
    Bytes datagram = record(22, 0, 7, bytes({1, 2, 3}));
    const Bytes second = record(23, 258, 65535, bytes({9, 8, 7, 6, 5, 4, 3, 2, 1}));
    datagram.insert(datagram.end(), second.begin(), second.end());
    std::span<const std::byte> rest{datagram};
    const auto one = take_record(rest);
    REQUIRE(one);
    CHECK(one->type == ContentType::handshake);
    CHECK(one->epoch == 0);
    CHECK(one->number == 7);
    CHECK(one->bytes.size() == 16);
    CHECK(one->tail() == RecordTail{{{}, {}, {}, {}, {}, std::byte{1}, std::byte{2}, std::byte{3}}});
    const auto two = take_record(rest);
    REQUIRE(two);
    CHECK(two->type == ContentType::application_data);
    CHECK(two->epoch == 258);
    CHECK(two->number == 65535);
    CHECK(two->tail().front() == std::byte{8});
    CHECK(two->tail().back() == std::byte{1});
    CHECK(rest.empty());
    CHECK_FALSE(take_record(rest));
}

TEST_CASE("what is cut short, or of another protocol, is no record and stays where it is")
{
    const Bytes whole = record(23, 1, 1, bytes({1, 2, 3, 4}));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        std::span<const std::byte> rest = std::span{whole}.first(size);
        CHECK_FALSE(take_record(rest));
        CHECK(rest.size() == size);
    }
    Bytes tls = whole;
    tls[1] = std::byte{3};
    std::span<const std::byte> rest{tls};
    CHECK_FALSE(take_record(rest));
}

TEST_CASE("the largest number has 48 bits")
{
    Bytes largest = record(23, 1, 1, bytes({1}));
    for (std::size_t at = 5; at < 11; ++at) {
        largest[at] = std::byte{0xFF};
    }
    std::span<const std::byte> rest{largest};
    CHECK(take_record(rest)->number == 0xFFFFFFFFFFFFU);
}

TEST_CASE("only the beginning of a ClientHello in the clear has a random")
{
    const auto random = client_random_of(record(22, 0, 0, hello(1, 0, 5)));
    REQUIRE(random);
    CHECK(random->front() == std::byte{5});
    CHECK(random->back() == std::byte{36});
    CHECK_FALSE(client_random_of(record(22, 1, 0, hello(1, 0, 5))));
    CHECK_FALSE(client_random_of(record(23, 0, 0, hello(1, 0, 5))));
    CHECK_FALSE(client_random_of(record(22, 0, 0, hello(2, 0, 5))));
    CHECK_FALSE(client_random_of(record(22, 0, 0, hello(1, 1, 5))));
    Bytes cut = hello(1, 0, 5);
    cut.pop_back();
    CHECK_FALSE(client_random_of(record(22, 0, 0, cut)));
    CHECK_FALSE(client_random_of({}));
}

TEST_SUITE_END();
