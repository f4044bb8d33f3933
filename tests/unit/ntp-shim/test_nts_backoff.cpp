#include "ntp-shim/nts_backoff.hpp"

#include <doctest/doctest.h>

using ntp_shim::KeBackoff;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_SUITE_BEGIN("nts_backoff");

TEST_CASE("RFC 8915 section 4.2: 10 s, half as much again each time, five days at most")
{
    KeBackoff backoff;
    CHECK(backoff.interval(0) == milliseconds{0});
    for (const auto expected : {milliseconds{10000}, milliseconds{15000}, milliseconds{22500}, milliseconds{33750}}) {
        backoff.attempt();
        CHECK(backoff.interval(0) == expected);
    }
    for (int more = 0; more < 100; ++more) {
        backoff.attempt();
    }
    CHECK(backoff.interval(0) == KeBackoff::kMost);
}

TEST_CASE("jitter lengthens an interval by up to a quarter, and never shortens it")
{
    KeBackoff backoff;
    backoff.attempt();
    for (std::uint64_t jitter = 0; jitter < 100000; jitter += 77) {
        CHECK(backoff.interval(jitter) >= seconds{10});
        CHECK(backoff.interval(jitter) <= milliseconds{12500});
    }
    CHECK(backoff.interval(2500) == milliseconds{12500});
}

TEST_CASE("section 4.2: only use resets it")
{
    KeBackoff backoff;
    backoff.attempt();
    backoff.attempt();
    CHECK(backoff.interval(0) == seconds{15});
    backoff.used();
    CHECK(backoff.interval(0) == seconds{0});
    backoff.restore(3);
    CHECK(backoff.interval(0) == milliseconds{22500});
    backoff.restore(4'000'000'000);
    CHECK(backoff.interval(0) == KeBackoff::kMost);
}

TEST_SUITE_END();
