#include <doctest/doctest.h>

#include <chrono>

#include "gateway/utc_time.hpp"

using namespace std::chrono_literals;

TEST_SUITE("utc_time")
{
    TEST_CASE("times are RFC 3339 in UTC with microseconds")
    {
        CHECK(gateway::utc_time(0ns) == "1970-01-01T00:00:00.000000Z");
        CHECK(gateway::utc_time(1'700'000'000s + 123'456'789ns) == "2023-11-14T22:13:20.123456Z");
        CHECK(gateway::utc_time(951'782'400s) == "2000-02-29T00:00:00.000000Z");
        CHECK(gateway::utc_time(-1ns) == "1969-12-31T23:59:59.999999Z");
        CHECK(gateway::utc_time(4'102'444'800s) == "2100-01-01T00:00:00.000000Z");
    }
}
