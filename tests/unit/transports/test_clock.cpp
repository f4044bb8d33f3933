#include <doctest/doctest.h>

#include <chrono>

#include "transports/clock.hpp"

using namespace std::chrono_literals;
using transports::ClockReading;
using transports::Instant;
using transports::translate_stamp;

TEST_SUITE("clock")
{
    const ClockReading reading{{100s, 200s}, 1'700'000'000s};
    const Instant earliest{100s - 5ms, 200s - 5ms};

    TEST_CASE("a stamp is translated to both clocks by its distance from the reading")
    {
        const auto arrival = translate_stamp(reading, 1'700'000'000s - 3ms, earliest);
        REQUIRE(arrival.has_value());
        CHECK(arrival->raw == 100s - 3ms);
        CHECK(arrival->boot == 200s - 3ms);
    }

    TEST_CASE("a stamp after the reading, or older than the loop allows, is unusable: the wall clock was stepped")
    {
        CHECK(translate_stamp(reading, 1'700'000'000s, earliest).has_value());
        CHECK_FALSE(translate_stamp(reading, 1'700'000'000s + 1ns, earliest).has_value());
        CHECK(translate_stamp(reading, 1'700'000'000s - 5ms, earliest).has_value());
        CHECK_FALSE(translate_stamp(reading, 1'700'000'000s - 5ms - 1ns, earliest).has_value());
        CHECK_FALSE(translate_stamp(reading, 1'700'000'000s - 1h, earliest).has_value());
        CHECK_FALSE(translate_stamp(reading, 1'700'000'000s + 1h, earliest).has_value());
    }

    TEST_CASE("the clocks advance together")
    {
        const auto first = transports::read_clocks();
        const auto second = transports::read_clocks();
        CHECK(second.now.raw >= first.now.raw);
        CHECK(second.now.boot >= first.now.boot);
        CHECK(transports::read_boot() >= second.now.boot);
    }
}
