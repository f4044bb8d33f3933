#include <doctest/doctest.h>

#include <chrono>
#include <vector>

#include "transports/admission.hpp"

using namespace std::chrono_literals;
using transports::Admission;
using transports::Limit;

namespace {

transports::MappedAddress ipv4(unsigned last)
{
    in_addr address{};
    address.s_addr = htonl(0x0a000000U + last);
    return transports::mapped(address);
}

} // namespace

TEST_SUITE("admission")
{
    TEST_CASE("half-open is counted until promoted or gone")
    {
        Admission admission{{0, 2, 0, 0}, nullptr};
        REQUIRE_FALSE(admission.admit(ipv4(1), 1s).has_value());
        Admission::Place first{admission};
        REQUIRE_FALSE(admission.admit(ipv4(2), 1s).has_value());
        {
            Admission::Place second{admission};
            CHECK(admission.admit(ipv4(3), 1s) == Limit::half_open);
        }
        CHECK_FALSE(admission.admit(ipv4(3), 1s).has_value());
        Admission::Place third{admission};
        first.promote();
        CHECK_FALSE(admission.admit(ipv4(4), 1s).has_value());
    }

    TEST_CASE("channels counts what is open and what may become so")
    {
        Admission admission{{2, 0, 0, 0}, nullptr};
        Admission::Place first{admission};
        first.promote();
        first.promote(); // twice is once
        CHECK_FALSE(admission.admit(ipv4(1), 1s).has_value());
        Admission::Place second{admission};
        CHECK(admission.admit(ipv4(1), 1s) == Limit::channels);
        first = {};
        CHECK_FALSE(admission.admit(ipv4(1), 1s).has_value());
    }

    TEST_CASE("handshakes of one source are limited by the second, others go on")
    {
        Admission admission{{0, 0, 3, 0}, nullptr};
        for (int i = 0; i < 3; ++i) {
            CHECK_FALSE(admission.admit(ipv4(1), 1500ms).has_value());
        }
        CHECK(admission.admit(ipv4(1), 1900ms) == Limit::handshakes_per_second_per_source);
        CHECK_FALSE(admission.admit(ipv4(2), 1900ms).has_value());
        CHECK_FALSE(admission.admit(ipv4(1), 2000ms).has_value());
    }

    TEST_CASE("handshakes of all sources are limited together")
    {
        Admission admission{{0, 0, 0, 2}, nullptr};
        CHECK_FALSE(admission.admit(ipv4(1), 1s).has_value());
        CHECK_FALSE(admission.admit(ipv4(2), 1s).has_value());
        CHECK(admission.admit(ipv4(3), 1s) == Limit::handshakes_per_second);
        CHECK_FALSE(admission.admit(ipv4(3), 2s).has_value());
    }

    TEST_CASE("an IPv6 source is its /64")
    {
        Admission admission{{0, 0, 1, 0}, nullptr};
        in6_addr address{};
        address.s6_addr[0] = 0x20;
        address.s6_addr[15] = 1;
        CHECK_FALSE(admission.admit(transports::mapped(address), 1s).has_value());
        address.s6_addr[15] = 2;
        CHECK(admission.admit(transports::mapped(address), 1s) == Limit::handshakes_per_second_per_source);
        address.s6_addr[7] = 1;
        CHECK_FALSE(admission.admit(transports::mapped(address), 1s).has_value());
    }

    TEST_CASE("the process's limit holds over all tunnels")
    {
        Admission process{{1, 0, 0, 0}, nullptr};
        Admission one{{0, 0, 0, 0}, &process};
        Admission two{{0, 0, 0, 0}, &process};
        Admission::Place place{one};
        place.promote();
        CHECK(two.admit(ipv4(1), 1s) == Limit::channels);
        Admission::Place moved{std::move(place)};
        CHECK(two.admit(ipv4(1), 1s) == Limit::channels);
        moved = {};
        CHECK_FALSE(two.admit(ipv4(1), 1s).has_value());
    }

    TEST_CASE("a flood of sources does not grow the table without bound")
    {
        Admission admission{{0, 0, 1, 0}, nullptr};
        std::size_t refused = 0;
        for (unsigned i = 0; i < 20000; ++i) {
            refused += admission.admit(ipv4(i), 1s).has_value() ? 1 : 0;
        }
        CHECK(refused == 20000 - 16384);
        CHECK_FALSE(admission.admit(ipv4(19999), 2s).has_value());
    }
}
