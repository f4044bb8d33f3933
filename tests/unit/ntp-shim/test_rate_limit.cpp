#include "ntp-shim/rate_limit.hpp"

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::ClientAccounts;
using ntp_shim::TokenBucket;
using namespace packets;

namespace {

int taken(TokenBucket& bucket, std::uint32_t per_second, int attempts, ntp_shim::Nanoseconds now)
{
    int count = 0;
    for (int attempt = 0; attempt < attempts; ++attempt) {
        count += bucket.take(per_second, now) ? 1 : 0;
    }
    return count;
}

bool admits(ClientAccounts& accounts, const std::array<std::byte, 16>& address, ntp_shim::Nanoseconds now)
{
    return accounts.admit(address, now).has_value();
}

} // namespace

TEST_SUITE_BEGIN("rate_limit");

TEST_CASE("a burst of one second's worth passes, and not one more")
{
    TokenBucket bucket;
    CHECK(taken(bucket, 100, 101, 5s) == 100);
}

TEST_CASE("a token comes back after its share of a second, not before")
{
    TokenBucket bucket;
    CHECK(taken(bucket, 10, 10, 5s) == 10);
    CHECK(taken(bucket, 10, 1, 5s + 100ms - 1ns) == 0);
    CHECK(taken(bucket, 10, 2, 5s + 100ms) == 1);
    CHECK_FALSE(bucket.is_full(5s + 1100ms - 1ns));
    CHECK(bucket.is_full(5s + 1100ms));
}

TEST_CASE("waiting for an hour saves up no more than one second's worth")
{
    TokenBucket bucket;
    CHECK(taken(bucket, 10, 10, 5s) == 10);
    CHECK(taken(bucket, 10, 100, 5s + 1h) == 10);
}

TEST_CASE("zero is no limit")
{
    TokenBucket bucket;
    CHECK(taken(bucket, 0, 100000, 5s) == 100000);
}

TEST_CASE("each IPv4 address has its own rate")
{
    ClientAccounts accounts({.exchanges = 0, .per_second = 1}, 7);
    CHECK(admits(accounts, ipv4(192, 0, 2, 1), 5s));
    CHECK_FALSE(admits(accounts, ipv4(192, 0, 2, 1), 5s));
    CHECK(admits(accounts, ipv4(192, 0, 2, 2), 5s));
}

TEST_CASE("each IPv6 /64 has its own rate")
{
    ClientAccounts accounts({.exchanges = 0, .per_second = 1}, 7);
    CHECK(admits(accounts, ipv6(0x20010db800000000, 1), 5s));
    CHECK_FALSE(admits(accounts, ipv6(0x20010db800000000, 2), 5s));
    CHECK(admits(accounts, ipv6(0x20010db800000001, 1), 5s));
}

TEST_CASE("exchanges are counted for each client")
{
    ClientAccounts accounts({.exchanges = 2, .per_second = 0}, 7);
    const auto account = accounts.admit(ipv4(192, 0, 2, 1), 5s);
    REQUIRE(account.has_value());
    accounts.open(*account);
    CHECK(accounts.may_open(*account));
    accounts.open(*account);
    CHECK_FALSE(accounts.may_open(*account));
    const auto other = accounts.admit(ipv4(192, 0, 2, 2), 5s);
    REQUIRE(other.has_value());
    CHECK(accounts.may_open(*other));
    accounts.close(*account);
    CHECK(accounts.may_open(*account));
}

TEST_CASE("a client that is idle for a second is forgotten; one with an exchange is not")
{
    ClientAccounts accounts({.exchanges = 2, .per_second = 10}, 7);
    const auto busy = accounts.admit(ipv4(192, 0, 2, 1), 5s);
    REQUIRE(busy.has_value());
    accounts.open(*busy);
    for (std::uint8_t host = 10; host < 20; ++host) {
        CHECK(admits(accounts, ipv4(192, 0, 2, host), 5s));
    }
    CHECK(accounts.size() == 11);
    for (int datagram = 0; datagram < 10; ++datagram) {
        CHECK(admits(accounts, ipv4(192, 0, 2, 99), 7s + datagram * 1s));
    }
    CHECK(accounts.size() == 2);
    CHECK(accounts.admit(ipv4(192, 0, 2, 1), 20s) == busy);
}

TEST_CASE("any number of strangers fills the table no further than its bound")
{
    ClientAccounts accounts({.exchanges = 1, .per_second = 1}, 7);
    const auto busy = accounts.admit(ipv4(127, 0, 0, 1), 5s);
    REQUIRE(busy.has_value());
    accounts.open(*busy);
    for (std::uint64_t network = 1; network < ClientAccounts::kMaxClients; ++network) {
        REQUIRE(admits(accounts, ipv6(network << 16, 1), 5s));
    }
    CHECK(accounts.size() == ClientAccounts::kMaxClients);
    CHECK_FALSE(admits(accounts, ipv6(1 << 16, 1), 5s));
    CHECK(admits(accounts, ipv6(0xfffffULL << 16, 1), 5s)); // in place of the one idle for longest: network 2
    CHECK(accounts.size() == ClientAccounts::kMaxClients);
    CHECK_FALSE(admits(accounts, ipv6(3 << 16, 1), 5s));
    CHECK(admits(accounts, ipv6(2 << 16, 1), 5s));
    CHECK_FALSE(accounts.may_open(*busy));
}

TEST_SUITE_END();
