#include <set>

#include <doctest/doctest.h>

#include "transports/dtls_cookies.hpp"

using namespace std::chrono_literals;
using namespace transports;

namespace {

MappedAddress address(unsigned char last)
{
    MappedAddress out{};
    out.back() = std::byte{last};
    return out;
}

} // namespace

TEST_SUITE_BEGIN("dtls_cookies");

TEST_CASE("a cookie belongs to one address and one port")
{
    CookieJar jar{10s};
    const auto of = [&](unsigned char last, std::uint16_t port) {
        return jar.cookies_for(address(last), port, 10s).current;
    };
    CHECK(of(1, 5) == of(1, 5));
    const std::set<DtlsCookie> different{of(1, 5), of(2, 5), of(1, 6), of(1, 5 << 8)};
    CHECK(different.size() == 4);
}

TEST_CASE("two jars have different keys, and so has the past")
{
    CookieJar one{10s};
    CookieJar other{10s};
    const auto cookies = one.cookies_for(address(1), 5, 10s);
    CHECK(cookies.current != other.cookies_for(address(1), 5, 10s).current);
    CHECK(cookies.current != cookies.previous);
}

TEST_CASE("a cookie is good for one rotation more, and not for two")
{
    CookieJar jar{10s};
    const DtlsCookie given = jar.cookies_for(address(1), 5, 10s).current;
    CHECK(jar.cookies_for(address(1), 5, 10s + CookieJar::kRotation - 1ns).current == given);
    const auto later = jar.cookies_for(address(1), 5, 10s + CookieJar::kRotation);
    CHECK(later.current != given);
    CHECK(later.previous == given);
    const auto last = jar.cookies_for(address(1), 5, 10s + 2 * CookieJar::kRotation);
    CHECK(last.current != given);
    CHECK(last.previous != given);
}

TEST_CASE("a long silence ages the key as much as a busy time")
{
    CookieJar jar{10s};
    const DtlsCookie given = jar.cookies_for(address(1), 5, 10s).current;
    const auto later = jar.cookies_for(address(1), 5, 10s + 2 * CookieJar::kRotation);
    CHECK(later.current != given);
    CHECK(later.previous != given);
}

TEST_SUITE_END();
