#include <doctest/doctest.h>

#include <string>

#include "transports/address.hpp"

using transports::address_text;
using transports::from_mapped;
using transports::mapped;
using transports::numeric_address;

TEST_SUITE("address")
{
    TEST_CASE("numeric addresses come back as they were")
    {
        const auto v4 = numeric_address("192.0.2.7", 123);
        REQUIRE(v4.has_value());
        CHECK(address_text(*v4) == "192.0.2.7:123");
        CHECK(address_text(from_mapped(mapped(*v4), 123, 0)) == "192.0.2.7:123");
        const auto v6 = numeric_address("2001:db8::7", 4461);
        REQUIRE(v6.has_value());
        CHECK(address_text(*v6) == "[2001:db8::7]:4461");
        CHECK(address_text(from_mapped(mapped(*v6), 4461, 0)) == "[2001:db8::7]:4461");
    }

    TEST_CASE("names are not numeric")
    {
        for (const char* host : {"localhost", "", "1.2.3", "1.2.3.4.5", "[::1]", "::g", "fe80::1%nosuchzone0"}) {
            CHECK_FALSE(numeric_address(host, 1).has_value());
        }
    }

    TEST_CASE("a zone is kept")
    {
        const auto address = numeric_address("fe80::1%lo", 1);
        REQUIRE(address.has_value());
        CHECK(address_text(*address).find('%') != std::string::npos);
    }

    TEST_CASE("a source is an IPv4 address or an IPv6 /64")
    {
        const auto one = mapped(*numeric_address("192.0.2.7", 1));
        const auto two = mapped(*numeric_address("192.0.2.8", 1));
        CHECK(transports::source_key(one) == one);
        CHECK(transports::source_key(one) != transports::source_key(two));
        CHECK(transports::source_key(mapped(*numeric_address("2001:db8::1", 1))) ==
              transports::source_key(mapped(*numeric_address("2001:db8::ffff:2", 1))));
    }
}
