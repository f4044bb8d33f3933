#include "transports/certificate_clock.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using transports::CertificateClock;
using transports::Nanoseconds;

namespace {

constexpr Nanoseconds kFloor = 1000h;

CertificateClock learnt(Nanoseconds wall, Nanoseconds boot)
{
    CertificateClock clock{kFloor};
    CHECK(clock.learn(wall, boot));
    return clock;
}

} // namespace

TEST_SUITE_BEGIN("certificate_clock");

TEST_CASE("it knows nothing until it learns, and never a time before its floor")
{
    CertificateClock clock{kFloor};
    CHECK_FALSE(clock.is_known());
    CHECK_FALSE(clock.at(2000h, 1h).has_value());
    CHECK_FALSE(clock.learn(kFloor - 1ns, 1h));
    CHECK_FALSE(clock.is_known());
    CHECK(clock.learn(kFloor, 1h));
    CHECK(clock.at(0h, 1h) == kFloor);
}

TEST_CASE("a floor rises and never falls")
{
    CertificateClock clock{kFloor};
    clock.raise_floor(kFloor - 1h);
    CHECK(clock.floor() == kFloor);
    clock.raise_floor(kFloor + 1h);
    CHECK_FALSE(clock.learn(kFloor, 1h));
}

TEST_CASE("the boot clock carries it, whatever the wall clock says")
{
    auto clock = learnt(2000h, 1h);
    CHECK(clock.at(5h, 1h + 10min) == 2000h + 10min);
    CHECK(clock.at(9000h, 2h) == 2001h);
    CHECK(clock.at(2002h - 61s, 3h) == 2002h); // just not near enough
}

TEST_CASE("a wall clock that has come near is followed, and one that is stepped away is not")
{
    auto clock = learnt(2000h, 1h);
    CHECK(clock.at(2001h + 50s, 2h) == 2001h + 50s);
    CHECK(clock.at(2002h + 100s, 3h) == 2002h + 100s); // 50 s more: a slow boot clock
    CHECK(clock.at(1000h, 4h) == 2003h + 100s);
}

TEST_CASE("without such a clock certificates are judged by the wall clock")
{
    const auto before = transports::read_wall();
    const auto time = transports::certificate_time(nullptr);
    REQUIRE(time.has_value());
    CHECK(*time >= before);
    CHECK(*time <= transports::read_wall());
    CHECK_FALSE(transports::certificate_time(std::make_shared<CertificateClock>(kFloor)).has_value());
}

TEST_SUITE_END();
