#include "ntp-shim/hold.hpp"

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::correct;
using ntp_shim::Holds;
using ntp_shim::is_plausible;
using ntp_shim::ServerStamps;
using ntp_shim::Ticks;
using ntp_shim::to_ticks;
using namespace packets;

TEST_SUITE_BEGIN("hold");

TEST_CASE("a stamp is 32.32 seconds, rounded to the nearest tick")
{
    CHECK(ntp_shim::stamp_of(0ns) == 0);
    CHECK(ntp_shim::stamp_of(1s) == 1ULL << 32);
    CHECK(ntp_shim::stamp_of(500ms) == 1ULL << 31);
    CHECK(ntp_shim::stamp_of(250ms) == 1ULL << 30);
    CHECK(ntp_shim::stamp_of(1ns) == 4);                  // 4.29
    CHECK(ntp_shim::stamp_of(2ns) == 9);                  // 8.59
    CHECK(ntp_shim::stamp_of(999999999ns) == 4294967292); // 4294967291.7
    CHECK(ntp_shim::stamp_of(100000s + 1ns) == (100000ULL << 32) + 4);
}

TEST_CASE("stamps beyond 2^32 seconds wrap")
{
    CHECK(ntp_shim::stamp_of(std::chrono::seconds{1LL << 32} + 250ms) == 1ULL << 30);
}

TEST_CASE("stamps are compared as signed differences, across the wrap")
{
    CHECK(ntp_shim::stamp_difference(5, 3) == Ticks{2});
    CHECK(ntp_shim::stamp_difference(3, 5) == Ticks{-2});
    CHECK(ntp_shim::stamp_difference(1, 0xffffffffffffffff) == Ticks{2});
    CHECK(ntp_shim::stamp_difference(0xffffffffffffffff, 1) == Ticks{-2});
}

TEST_CASE("two clock readings in the wrong order are no interval")
{
    CHECK(to_ticks(-1ns) == Ticks{0});
    CHECK(to_ticks(-10s) == Ticks{0});
    CHECK(to_ticks(1s) == Ticks{1LL << 32});
}

TEST_CASE("a hold field ends just below a second")
{
    CHECK(ntp_shim::hold_field(0ns) == 0);
    CHECK(ntp_shim::hold_field(-5ns) == 0);
    CHECK(ntp_shim::hold_field(250ms) == 1U << 30);
    CHECK(ntp_shim::hold_field(999999999ns) == 0xfffffffc);
    CHECK_FALSE(ntp_shim::hold_field(1s).has_value());
    CHECK_FALSE(ntp_shim::hold_field(5h).has_value());
}

TEST_CASE("T2 moves back by the forward hold, T3 on by the backward hold")
{
    const auto shifted = correct({.receive = kT2, .transmit = kT3}, {.forward = Ticks{1000}, .backward = Ticks{70}});
    REQUIRE(shifted.has_value());
    CHECK(shifted->receive == kT2 - 1000);
    CHECK(shifted->transmit == kT3 + 70);
}

TEST_CASE("the era of 2036 begins between T2 and T3, or before a hold, without harm")
{
    const ServerStamps around{.receive = 0xffffffffffffff00, .transmit = 0x100};
    CHECK(around.processing() == Ticks{0x200});
    const Holds holds{.forward = Ticks{0x1000}, .backward = Ticks{0x1000}};
    const auto both = correct(around, holds);
    REQUIRE(both.has_value());
    CHECK(both->receive == 0xffffffffffffef00);
    CHECK(both->transmit == 0x1100);
    const auto after = correct({.receive = 0x10, .transmit = 0x20}, holds);
    REQUIRE(after.has_value());
    CHECK(after->receive == 0xfffffffffffff010);
    CHECK(after->transmit == 0x1020);
    const auto before = correct({.receive = 0xffffffffffffff00, .transmit = 0xfffffffffffffff0}, holds);
    REQUIRE(before.has_value());
    CHECK(before->transmit == 0xff0);
}

TEST_CASE("a stamp shifted to zero becomes one")
{
    const auto early = correct({.receive = 500, .transmit = 1000}, {.forward = Ticks{500}, .backward = Ticks{0}});
    REQUIRE(early.has_value());
    CHECK(early->receive == 1);
    const auto late = correct({.receive = 0xffffffffffffff00, .transmit = 0xfffffffffffffff0},
                              {.forward = Ticks{0}, .backward = Ticks{0x10}});
    REQUIRE(late.has_value());
    CHECK(late->transmit == 1);
}

TEST_CASE("T2 may equal T3 after correction, and not follow it")
{
    const ServerStamps stepped{.receive = 5000, .transmit = 4000}; // the daemon's clock was stepped back
    CHECK(correct(stepped, {.forward = Ticks{600}, .backward = Ticks{400}}).has_value());
    CHECK_FALSE(correct(stepped, {.forward = Ticks{600}, .backward = Ticks{399}}).has_value());
}

TEST_CASE("holds and processing fit into the measured interval and a millisecond")
{
    const Holds holds{.forward = to_ticks(10ms), .backward = to_ticks(20ms)};
    CHECK(is_plausible(holds, to_ticks(5ms), 34ms));
    const auto sum = holds.total() + to_ticks(5ms);
    CHECK(sum > to_ticks(33ms) + to_ticks(1ms));
    CHECK_FALSE(is_plausible(holds, to_ticks(5ms), 33ms));
    CHECK(is_plausible({}, Ticks{0}, -5s)); // clock readings in the wrong order: nothing measured
    CHECK_FALSE(is_plausible({}, to_ticks(2ms), -5s));
}

TEST_CASE("no stamp of a liar overflows the comparison")
{
    const Holds holds{.forward = to_ticks(999ms), .backward = to_ticks(999ms)};
    CHECK_FALSE(is_plausible(holds, Ticks::max(), 4s));
    CHECK(is_plausible(holds, Ticks::min(), 4s)); // refused afterwards: T3 before T2
    CHECK_FALSE(correct({.receive = 1ULL << 63, .transmit = 0}, holds).has_value());
}

TEST_SUITE_END();
