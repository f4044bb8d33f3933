#include "gateway/audit_folds.hpp"

#include <algorithm>
#include <utility>

namespace gateway {

namespace {

constexpr std::chrono::nanoseconds kFirstInterval = std::chrono::seconds{10};
constexpr std::chrono::nanoseconds kLongestInterval = std::chrono::seconds{640};

} // namespace

bool AuditFolds::take(Bucket& bucket, const Budget& budget, Nanoseconds now)
{
    if (bucket.tokens < 0) {
        bucket.tokens = budget.burst;
    } else {
        const double more =
            static_cast<double>((now - bucket.at).count()) / static_cast<double>(budget.one_more_every.count());
        bucket.tokens = std::min(bucket.tokens + more, static_cast<double>(budget.burst));
    }
    bucket.at = now;
    if (bucket.tokens < 1) {
        return false;
    }
    bucket.tokens -= 1;
    return true;
}

AuditFolds::Kind& AuditFolds::kind_of(const AuditRecord& record, Nanoseconds now)
{
    Key key{record.event, record.tunnel, record.reason};
    if (kinds_.size() >= kMaxKinds && !kinds_.contains(key)) {
        key = {record.event, "", ""}; // more kinds than reasons and tunnels there are: one for all that are new
    }
    auto [item, fresh] = kinds_.try_emplace(std::move(key));
    if (fresh) {
        item->second.since = now;
        item->second.interval = kFirstInterval;
    }
    return item->second;
}

bool AuditFolds::admits(const AuditRecord& record, Nanoseconds now)
{
    const Repeats who = repeats(record.event);
    if (who == Repeats::written) {
        return true;
    }
    const bool refusal = who == Repeats::refused;
    Kind& kind = kind_of(record, now);
    const bool room = !kind.sustained && kind.written < (refusal ? kRefusalsAtFirst : kAdmissionsAtFirst);
    if (room && take(refusal ? refused_ : admitted_, refusal ? kRefused : kAdmitted, now)) {
        ++kind.written;
        return true;
    }
    ++kind.sum.count;
    kind.sum.last = record;
    return false;
}

std::vector<AuditFolds::Sum> AuditFolds::due(Nanoseconds now, bool all)
{
    std::vector<Sum> sums;
    for (auto item = kinds_.begin(); item != kinds_.end();) {
        Kind& kind = item->second;
        const bool over = now - kind.since >= kind.interval;
        if (kind.sum.count != 0 && (all || (over && take(sums_, kSums, now)))) {
            sums.push_back(std::exchange(kind.sum, {}));
            kind.since = now;
            kind.interval = std::min(kind.interval * 2, kLongestInterval);
            kind.sustained = true;
            ++item;
        } else if (over && kind.sum.count == 0) {
            item = kinds_.erase(item);
        } else {
            ++item;
        }
    }
    return sums;
}

} // namespace gateway
