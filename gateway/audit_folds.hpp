// How many records a remote party can cause: repeats become one record with a count, and each kind of record has a
// budget.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "gateway/audit_events.hpp"

namespace gateway {

struct AuditRecord {
    AuditEvent event{};
    bool success = true;
    std::string tunnel;
    std::string subject; // text from a peer is escaped and cut by Audit, not by the caller
    std::string peer;
    std::string reason;
};

/// Of the same (event, tunnel, reason) a few records are written; while more keep coming they are counted, and told in
/// one record after 10 s, then 20 s, and so on up to 640 s. Apart from that no more are written than the budgets below
/// allow, whatever comes: what finds its budget spent is counted too, never lost. Pure; `now` is the boot clock.
class AuditFolds {
public:
    using Nanoseconds = std::chrono::nanoseconds;
    struct Budget {
        std::uint32_t burst{};      // records at once
        Nanoseconds one_more_every; // and then
    };
    static constexpr Budget kRefused{200, std::chrono::seconds{10}};
    static constexpr Budget kAdmitted{2000, std::chrono::seconds{1}};
    static constexpr Budget kSums{500, std::chrono::seconds{5}};
    static constexpr std::size_t kMaxKinds = 512;
    static constexpr std::uint32_t kRefusalsAtFirst = 10;
    static constexpr std::uint32_t kAdmissionsAtFirst = 200;

    struct Sum {
        AuditRecord last; // one of those that were folded
        std::uint64_t count{};
    };

    /// Whether this one is written.
    [[nodiscard]] bool admits(const AuditRecord& record, Nanoseconds now);
    /// What is to be told now; with `all`, everything.
    [[nodiscard]] std::vector<Sum> due(Nanoseconds now, bool all);

private:
    struct Kind {
        Nanoseconds since{};
        Nanoseconds interval{};
        std::uint32_t written{};
        bool sustained = false; // it went on for a whole interval: only sums from here
        Sum sum;
    };
    struct Bucket {
        double tokens = -1; // not used so far
        Nanoseconds at{};
    };
    using Key = std::tuple<AuditEvent, std::string, std::string>;

    [[nodiscard]] Kind& kind_of(const AuditRecord& record, Nanoseconds now);
    [[nodiscard]] static bool take(Bucket& bucket, const Budget& budget, Nanoseconds now);

    std::map<Key, Kind> kinds_;
    Bucket refused_;
    Bucket admitted_;
    Bucket sums_;
};

} // namespace gateway
