// The deliberate faults of a server tunnel under profile lab (`faults:`), built around its upstream, its seal, and
// beside both.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include <nlohmann/json_fwd.hpp>

#include "gateway/config.hpp"
#include "gateway/sealing.hpp"
#include "gateway/services.hpp"
#include "gateway/upstream_link.hpp"

namespace gateway {

/// The tunnel's upstream, late when `faults.delay` says so. The error text. `tunnel` and `owner` outlive it.
[[nodiscard]] std::variant<std::unique_ptr<UpstreamLink>, std::string>
make_tunnel_upstream(Services services, const Tunnel& tunnel, UpstreamOwner& owner);

/// `genuine`, which may be null, with `faults.wrong-origin` and `faults.unsolicited` around it; itself without them.
[[nodiscard]] std::unique_ptr<ServerSealing> with_faults(const Tunnel& tunnel, std::unique_ptr<ServerSealing> genuine);

/// For `started`: `clock-offset` in seconds and `faults`, each where there is one.
[[nodiscard]] nlohmann::ordered_json deliberate_wrongs(const Tunnel& tunnel);

/// `faults.broadcast`: a packet of mode 5 every second, for as long as it lives.
class LabBroadcast {
public:
    LabBroadcast() = default;
    virtual ~LabBroadcast() = default;
    LabBroadcast(const LabBroadcast&) = delete;
    LabBroadcast& operator=(const LabBroadcast&) = delete;
};
/// The error text; null when the tunnel has no such fault.
[[nodiscard]] std::variant<std::unique_ptr<LabBroadcast>, std::string> make_broadcast(Services services,
                                                                                      const Tunnel& tunnel);

} // namespace gateway
