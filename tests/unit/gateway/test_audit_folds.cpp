#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <utility>

#include "gateway/audit_folds.hpp"

using namespace gateway;
using namespace std::chrono_literals;
using Nanoseconds = std::chrono::nanoseconds;

namespace {

AuditRecord of(AuditEvent event, const std::string& reason = "unknown_ca", const std::string& tunnel = "hq")
{
    AuditRecord record;
    record.event = event;
    record.tunnel = tunnel;
    record.reason = reason;
    return record;
}

/// Records written, and events told of, in `hours` of a flood: every kind of it once every `every`.
struct Outcome {
    std::uint64_t written = 0;
    std::uint64_t told = 0;
    std::uint64_t sent = 0;
};
Outcome flood(AuditEvent event, int kinds, Nanoseconds every, std::chrono::hours hours)
{
    AuditFolds folds;
    Outcome outcome;
    Nanoseconds look = 0s;
    for (Nanoseconds now = 0s; now < hours; now += every) {
        for (int kind = 0; kind < kinds; ++kind) {
            ++outcome.sent;
            const bool admitted = folds.admits(of(event, "reason" + std::to_string(kind)), now);
            outcome.written += admitted ? 1 : 0;
            outcome.told += admitted ? 1 : 0;
        }
        for (; look <= now; look += 5s) {
            for (const auto& sum : folds.due(look, false)) {
                ++outcome.written;
                outcome.told += sum.count;
            }
        }
    }
    for (const auto& sum : folds.due(hours, true)) {
        ++outcome.written;
        outcome.told += sum.count;
    }
    return outcome;
}

} // namespace

TEST_SUITE("audit_folds")
{
    TEST_CASE("a flood of one failure becomes a few records and one with a count")
    {
        AuditFolds folds;
        int written = 0;
        for (int i = 0; i < 1000; ++i) {
            written += folds.admits(of(AuditEvent::channel_failed), 1s) ? 1 : 0;
        }
        CHECK(written == 10);
        CHECK(folds.admits(of(AuditEvent::channel_failed, "eku_missing"), 1s));
        CHECK(folds.admits(of(AuditEvent::channel_failed, "unknown_ca", "other"), 1s));
        CHECK(folds.due(10s, false).empty());
        const auto sums = folds.due(11s, false);
        REQUIRE(sums.size() == 1);
        CHECK(sums[0].count == 990);
        CHECK(sums[0].last.reason == "unknown_ca");
    }

    TEST_CASE("while it goes on there are only sums, further and further apart")
    {
        AuditFolds folds;
        std::vector<Nanoseconds> told;
        for (Nanoseconds now = 0s; now < 1400s; now += 1s) {
            for (int i = 0; i < 20; ++i) {
                const bool admitted = folds.admits(of(AuditEvent::channel_failed), now);
                CHECK((!admitted || now == 0s));
            }
            if (!folds.due(now, false).empty()) {
                told.push_back(now);
            }
        }
        CHECK(told == std::vector<Nanoseconds>{10s, 30s, 70s, 150s, 310s, 630s, 1270s});
    }

    TEST_CASE("what has stopped begins anew")
    {
        AuditFolds folds;
        for (int i = 0; i < 11; ++i) {
            (void)folds.admits(of(AuditEvent::channel_failed), 0s);
        }
        CHECK(folds.due(10s, false).size() == 1);
        CHECK_FALSE(folds.admits(of(AuditEvent::channel_failed), 11s));
        CHECK(folds.due(30s, false).size() == 1);
        CHECK(folds.due(70s, false).empty());
        CHECK(folds.admits(of(AuditEvent::channel_failed), 71s));
    }

    TEST_CASE("every event that somebody else can cause grows the records by a bounded amount, and none is lost")
    {
        for (std::size_t at = 0; at < kAuditEvents; ++at) {
            const auto event = static_cast<AuditEvent>(at);
            if (repeats(event) == Repeats::written) {
                continue;
            }
            CAPTURE(name(event));
            const auto& budget = repeats(event) == Repeats::refused ? AuditFolds::kRefused : AuditFolds::kAdmitted;
            for (const auto& [every, hours] : {std::pair{Nanoseconds{1s}, 1h}, {Nanoseconds{31s}, 24h}}) {
                const auto outcome = flood(event, 60, every, hours);
                const auto allowed = budget.burst + hours / budget.one_more_every + AuditFolds::kSums.burst +
                                     hours / AuditFolds::kSums.one_more_every + 60;
                CAPTURE(outcome.written);
                CHECK(outcome.written <= static_cast<std::uint64_t>(allowed));
                CHECK(outcome.told == outcome.sent);
            }
        }
    }

    TEST_CASE("kinds without end share one, and lose no count")
    {
        AuditFolds folds;
        std::uint64_t told = 0;
        for (int i = 0; i < 5000; ++i) {
            told += folds.admits(of(AuditEvent::limit_reached, "reason" + std::to_string(i)), 1s) ? 1 : 0;
        }
        CHECK(told == AuditFolds::kRefused.burst);
        const auto sums = folds.due(2s, true);
        CHECK(sums.size() <= AuditFolds::kMaxKinds + 1);
        for (const auto& sum : sums) {
            told += sum.count;
        }
        CHECK(told == 5000);
    }

    TEST_CASE("events that matter to the last one are never folded")
    {
        AuditFolds folds;
        for (int i = 0; i < 3000; ++i) {
            CHECK(folds.admits(of(AuditEvent::config_loaded), 0s));
        }
        CHECK(folds.due(0s, true).empty());
    }
}
