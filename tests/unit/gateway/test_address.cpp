#include <string>

#include <doctest/doctest.h>

#include "gateway/address.hpp"

using namespace gateway;

namespace {

std::string round_trip(std::string_view text)
{
    const auto parsed = parse_socket_address(text);
    const auto* address = std::get_if<SocketAddress>(&parsed);
    return address == nullptr ? "refused: " + std::get<Refused>(parsed).why : address->text();
}

SocketAddress address(std::string_view text)
{
    return std::get<SocketAddress>(parse_socket_address(text));
}

AddressBlock block(std::string_view text)
{
    return std::get<AddressBlock>(parse_address_block(text));
}

std::array<std::byte, 16> bytes_of(std::string_view text)
{
    return block(text).address;
}

bool is_target(std::string_view text)
{
    return std::holds_alternative<Target>(parse_target(text, 4461));
}

} // namespace

TEST_SUITE_BEGIN("address");

TEST_CASE("numeric addresses with ports are read and printed")
{
    for (const auto* text :
         {"127.0.0.1:123", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:123", "[2001:db8::1]:4461", "[::]:0"}) {
        CHECK(round_trip(text) == text);
    }
}

TEST_CASE("everything else is refused")
{
    for (const auto* text :
         {"", "127.0.0.1", "localhost:123", "127.0.0.1:65536", "127.0.0.1:0123", "127.0.0.1:", "127.0.0.1:-1",
          "127.0.0.1:12a", "127.1:123", "1.2.3.4.5:1", "300.1.1.1:1", "[127.0.0.1]:1", "[::1]", "[::1", "[::1]x:1",
          "[::g]:1", ":123", "[]:1", "[::1%nosuch0]:1"}) {
        CAPTURE(text);
        CHECK(round_trip(text).starts_with("refused: "));
    }
    CHECK(round_trip(std::string_view{"127.0.0.1\0x:1", 13}).starts_with("refused: "));
}

TEST_CASE("an IPv6 address without brackets is told about brackets and quotes")
{
    CHECK(round_trip("::1:123").find("\"[::1]:123\"") != std::string::npos);
}

TEST_CASE("a default stands in for a missing port only")
{
    CHECK(std::get<SocketAddress>(parse_socket_address("127.0.0.1", std::uint16_t{123})).port() == 123);
    CHECK(std::get<SocketAddress>(parse_socket_address("[::1]", std::uint16_t{123})).port() == 123);
    CHECK(std::holds_alternative<Refused>(parse_socket_address("127.0.0.1:", std::uint16_t{123})));
}

TEST_CASE("loopback and wildcard are recognised in both families")
{
    CHECK(address("127.0.0.1:1").is_loopback());
    CHECK(address("127.255.255.255:1").is_loopback());
    CHECK_FALSE(address("128.0.0.0:1").is_loopback());
    CHECK(address("[::1]:1").is_loopback());
    CHECK(address("[::ffff:127.0.0.1]:1").is_loopback());
    CHECK_FALSE(address("[::2]:1").is_loopback());
    CHECK(address("0.0.0.0:1").is_any());
    CHECK(address("[::]:1").is_any());
    CHECK_FALSE(address("0.0.0.1:1").is_any());
}

TEST_CASE("addresses clash on the same port when they are the same or one is the wildcard")
{
    CHECK(clash(address("127.0.0.1:123"), address("127.0.0.1:123")));
    CHECK(clash(address("0.0.0.0:123"), address("127.0.0.1:123")));
    CHECK(clash(address("[::1]:123"), address("[::]:123")));
    CHECK_FALSE(clash(address("127.0.0.1:123"), address("127.0.0.2:123")));
    CHECK_FALSE(clash(address("0.0.0.0:123"), address("127.0.0.1:124")));
    CHECK_FALSE(clash(address("127.0.0.1:0"), address("127.0.0.1:0")));
    CHECK_FALSE(clash(address("[::]:123"), address("0.0.0.0:123")));
}

TEST_CASE("equality looks at family, address and port")
{
    CHECK(address("127.0.0.1:1") == address("127.0.0.1:1"));
    CHECK_FALSE(address("127.0.0.1:1") == address("127.0.0.1:2"));
    CHECK_FALSE(address("127.0.0.1:1") == address("127.0.0.2:1"));
    CHECK_FALSE(address("[::]:1") == address("0.0.0.0:1"));
    CHECK(same_host(address("[::1]:1"), address("[::1]:2")));
}

TEST_CASE("a block contains its own addresses and no others")
{
    CHECK(block("127.0.0.0/8").contains(bytes_of("127.255.255.255")));
    CHECK_FALSE(block("127.0.0.0/8").contains(bytes_of("128.0.0.0")));
    CHECK(block("192.0.2.4/31").contains(bytes_of("192.0.2.5")));
    CHECK_FALSE(block("192.0.2.4/31").contains(bytes_of("192.0.2.6")));
    CHECK(block("192.0.2.4").contains(bytes_of("192.0.2.4")));
    CHECK_FALSE(block("192.0.2.4").contains(bytes_of("192.0.2.5")));
    CHECK(block("0.0.0.0/0").contains(bytes_of("255.0.0.1")));
    CHECK(block("2001:db8::/33").contains(bytes_of("2001:db8:7fff::1")));
    CHECK_FALSE(block("2001:db8::/33").contains(bytes_of("2001:db8:8000::1")));
}

TEST_CASE("blocks of one family never admit the other")
{
    CHECK(block("::/0").contains(bytes_of("2001:db8::1")));
    CHECK_FALSE(block("::/0").contains(bytes_of("192.0.2.1")));
    CHECK_FALSE(block("0.0.0.0/0").contains(bytes_of("2001:db8::1")));
}

TEST_CASE("a block prints as it may be written, and needs its host bits zero")
{
    for (const auto* text : {"127.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "::/0", "fe80::/10", "::1/128"}) {
        CHECK(block(text).text() == text);
    }
    for (const auto* text : {"", "127.0.0.1/8", "10.0.0.0/33", "::1/129", "::1/127", "10.0.0.0/", "10.0.0.0/08", "a/8",
                             "[::1]/128", "10.0.0.0/-1"}) {
        CAPTURE(text);
        CHECK(std::holds_alternative<Refused>(parse_address_block(text)));
    }
    CHECK(std::get<Refused>(parse_address_block("10.1.2.3/8")).why.find("10.0.0.0/8") != std::string::npos);
}

TEST_CASE("a target is a name or an address, with the default port when it has none")
{
    CHECK(std::get<Target>(parse_target("gw.example.org", 4461)).text() == "gw.example.org:4461");
    CHECK(std::get<Target>(parse_target("[2001:db8::1]", 4461)).text() == "[2001:db8::1]:4461");
    CHECK(std::get<Target>(parse_target("[2001:db8::1]:1", 4461)).host == "2001:db8::1");
    for (const auto* text : {"a", "a.", "a_b.c-d", "1a.org", "192.0.2.1:65535", "xn--bcher-kva.example:1"}) {
        CAPTURE(text);
        CHECK(is_target(text));
    }
    for (const auto* text : {"", ":1", "a b", "a..b", "-a", "a-", ".a", "300.1.1.1", "1.2.3", "a:0", "a:65536", "::1",
                             "[a]:1", "a/b", "a:1:2", "\xc3\xa9.org"}) {
        CAPTURE(text);
        CHECK_FALSE(is_target(text));
    }
    const std::string label(63, 'a');
    CHECK(is_target(label + ".b"));
    CHECK_FALSE(is_target(label + "a.b"));
}

TEST_SUITE_END();
