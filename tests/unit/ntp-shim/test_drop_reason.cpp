#include "ntp-shim/drop_reason.hpp"

#include <set>
#include <string>

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::DropReason;

TEST_SUITE_BEGIN("drop_reason");

TEST_CASE("a reason prints as its enumerator")
{
    CHECK(name(DropReason::too_short) == "too_short");
    CHECK(name(DropReason::raw_busy) == "raw_busy");
    CHECK(name(DropReason::implausible_hold) == "implausible_hold");
    CHECK(name(DropReason::send_failed) == "send_failed");
}

TEST_CASE("every reason has a name of its own")
{
    std::set<std::string> names;
    for (std::size_t reason = 0; reason < ntp_shim::kDropReasons; ++reason) {
        names.emplace(name(static_cast<DropReason>(reason)));
    }
    CHECK(names.size() == ntp_shim::kDropReasons);
    CHECK_FALSE(names.contains("unknown"));
    CHECK(name(static_cast<DropReason>(ntp_shim::kDropReasons)) == "unknown");
}

TEST_SUITE_END();
