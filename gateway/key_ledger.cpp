#include "gateway/key_ledger.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace gateway {

bool KeyLedger::is_held(const HeldKey& key) const
{
    return std::ranges::any_of(holdings_, [&](const Holding& holding) {
        return std::ranges::find(holding.keys, key.id, &HeldKey::id) != holding.keys.end();
    });
}

void KeyLedger::hold(std::weak_ptr<const void> holder, std::vector<HeldKey> keys)
{
    for (const auto& key : keys) {
        if (!is_held(key)) {
            record(true, key);
        }
    }
    holdings_.push_back({std::move(holder), std::move(keys)});
}

void KeyLedger::look()
{
    std::vector<HeldKey> gone;
    std::erase_if(holdings_, [&gone](Holding& holding) {
        const bool expired = holding.holder.expired();
        if (expired) {
            std::move(holding.keys.begin(), holding.keys.end(), std::back_inserter(gone));
        }
        return expired;
    });
    std::vector<std::string> recorded;
    for (const auto& key : gone) {
        if (!is_held(key) && std::ranges::find(recorded, key.id) == recorded.end()) {
            record(false, key);
            recorded.push_back(key.id);
        }
    }
}

void KeyLedger::record(bool loaded, const HeldKey& key)
{
    AuditRecord made;
    made.event = loaded ? AuditEvent::key_loaded : AuditEvent::key_destroyed;
    made.tunnel = tunnel_;
    made.subject = key.subject;
    services_.audit.record(made, key.fields);
}

} // namespace gateway
