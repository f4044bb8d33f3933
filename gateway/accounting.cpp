#include "gateway/accounting.hpp"

#include <string>

#include <nlohmann/json.hpp>

namespace gateway {

namespace {

using nlohmann::ordered_json;

template <class Enum, std::size_t Size>
ordered_json by_name(const std::array<std::uint64_t, Size>& counts)
{
    ordered_json out = ordered_json::object();
    for (std::size_t i = 0; i < Size; ++i) {
        if (counts.at(i) != 0) {
            out[std::string{name(static_cast<Enum>(i))}] = counts.at(i);
        }
    }
    return out;
}

ordered_json ledger_json(const ntp_shim::Ledger& ledger)
{
    return {{"received", ledger.received},
            {"forwarded", ledger.forwarded},
            {"control", ledger.control},
            {"waiting", ledger.waiting},
            {"drops", by_name<ntp_shim::DropReason>(ledger.drops)}};
}

} // namespace

ordered_json counters_json(const ntp_shim::Counters& ntp, const ChannelCounters& channels)
{
    const auto& exchanges = ntp.exchanges;
    return {{"requests", ledger_json(ntp.requests)},
            {"replies", ledger_json(ntp.replies)},
            {"exchanges",
             {{"opened", exchanges.opened},
              {"answered", exchanges.answered},
              {"lost", exchanges.lost},
              {"replaced", exchanges.replaced},
              {"abandoned", exchanges.abandoned},
              {"open", exchanges.open}}},
            {"channels",
             {{"opened", channels.opened},
              {"closed", by_name<transports::CloseReason>(channels.closed)},
              {"failed", by_name<transports::CloseReason>(channels.failed)},
              {"discarded", by_name<transports::Discard>(channels.discarded)}}}};
}

ordered_json counters_json(const transports::ListenerCounters& listener)
{
    return {{"accepted", listener.accepted},
            {"opened", listener.opened},
            {"failed", by_name<transports::CloseReason>(listener.failed)},
            {"refused", by_name<transports::Limit>(listener.refused)},
            {"pending", listener.pending}};
}

} // namespace gateway
