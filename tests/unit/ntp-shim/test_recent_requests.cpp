#include "ntp-shim/recent_requests.hpp"

#include "tests/unit/ntp-shim/packets.hpp"

using packets::ipv4;

TEST_SUITE_BEGIN("recent_requests");

TEST_CASE("of the requests seen the oldest is forgotten first, and no more are kept than there is room for")
{
    ntp_shim::RecentRequests seen{4711};
    const auto address = ipv4(192, 0, 2, 1);
    const auto room = ntp_shim::RecentRequests::kRemembered;
    for (int round = 0; round < 3; ++round) {
        for (std::uint64_t stamp = 1; stamp <= room; ++stamp) {
            CHECK(seen.add(address, stamp + static_cast<std::uint64_t>(round) * room));
        }
    }
    CHECK_FALSE(seen.add(address, 3 * room));
    CHECK_FALSE(seen.add(address, 2 * room + 1));
    CHECK(seen.add(address, 1));
    CHECK(seen.add(address, 2 * room + 1)); // which that pushed out
    CHECK_FALSE(seen.add(address, 2 * room + 3));
}

TEST_SUITE_END();
