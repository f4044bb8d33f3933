#include "ntp-shim/counters.hpp"

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::DropReason;
using ntp_shim::ExchangeCounts;
using ntp_shim::Ledger;

TEST_SUITE_BEGIN("counters");

TEST_CASE("what was received was forwarded, control, dropped or waits")
{
    Ledger ledger;
    CHECK(ledger.balanced());
    ledger.received = 10;
    CHECK_FALSE(ledger.balanced());
    ledger.forwarded = 4;
    ledger.control = 2;
    ledger.waiting = 1;
    ledger.drop(DropReason::too_short);
    ledger.drop(DropReason::too_short);
    ledger.drop(DropReason::send_failed);
    CHECK(ledger.dropped() == 3);
    CHECK(ledger.balanced());
    ledger.drop(DropReason::too_old);
    CHECK_FALSE(ledger.balanced());
}

TEST_CASE("what was opened ended in one way, or is open")
{
    ExchangeCounts counts;
    CHECK(counts.balanced());
    counts.opened = 5;
    CHECK_FALSE(counts.balanced());
    counts.answered = 1;
    counts.lost = 1;
    counts.replaced = 1;
    counts.abandoned = 1;
    counts.open = 1;
    CHECK(counts.balanced());
}

TEST_SUITE_END();
