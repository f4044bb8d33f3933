// Channels opening, closing and failing: one audit record, one log line, one count each.
#pragma once

#include <string>

#include "gateway/accounting.hpp"
#include "gateway/services.hpp"
#include "ntp-shim/drop_reason.hpp"
#include "transports/channel.hpp"

namespace gateway {

class ChannelEvents {
public:
    ChannelEvents(Services services, std::string tunnel);
    void opened(const transports::PeerIdentity& peer);
    void closed(const transports::PeerIdentity& peer, const transports::Closed& why);
    void failed(const transports::Failed& why);
    /// A record that its carrier discarded; a replay is recorded with its source.
    void discarded(const transports::Discarded& record);
    /// A message that the path to `peer` does not carry in one piece.
    void oversize(const transports::PeerIdentity& peer, std::size_t octets);
    /// New keys on an open channel.
    void rekeyed(const transports::PeerIdentity& peer);
    /// A drop that means a limit of the configuration was met; other reasons are only counted, by the shims.
    void dropped(ntp_shim::DropReason reason, const std::string& client);
    [[nodiscard]] const ChannelCounters& counters() const noexcept { return counters_; }

private:
    Services services_;
    std::string tunnel_;
    ChannelCounters counters_;
};

/// The configuration key of the limit behind a drop; empty when it is no limit.
[[nodiscard]] std::string_view limit_key(ntp_shim::DropReason reason) noexcept;

} // namespace gateway
