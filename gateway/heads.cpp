#include "gateway/heads.hpp"

#include <utility>

#include "gateway/bootstrap_gate.hpp"
#include "gateway/client_head.hpp"
#include "gateway/datagram_client.hpp"
#include "gateway/datagram_server.hpp"
#include "gateway/lab_faults.hpp"
#include "gateway/mac_sealing.hpp"
#include "gateway/nts_sealing.hpp"
#include "gateway/server_head.hpp"

namespace gateway {

namespace {

using Problems = std::vector<CarrierProblem>;

/// What `made` holds, or its problems into `problems`.
template <class Part>
std::unique_ptr<Part> part(std::variant<std::unique_ptr<Part>, Problems> made, Problems& problems)
{
    if (auto* wrong = std::get_if<Problems>(&made)) {
        problems = std::move(*wrong);
        return nullptr;
    }
    return std::move(std::get<std::unique_ptr<Part>>(made));
}

bool is_on_datagrams(const Tunnel& tunnel) noexcept
{
    return tunnel.channel == ChannelKind::mac || tunnel.channel == ChannelKind::nts;
}

/// As if the tunnel's certificate-time were strict.
std::variant<std::unique_ptr<ClientRole>, Problems> make_ungated(Services services, const Tunnel& tunnel,
                                                                 ReplySink& sink)
{
    Problems problems;
    std::unique_ptr<ClientSealing> sealing;
    if (tunnel.mac) {
        sealing = part(make_mac_client_sealing(services, tunnel), problems);
    } else if (tunnel.nts) {
        sealing = part(make_nts_client_sealing(services, tunnel), problems);
    }
    if (problems.empty() && is_on_datagrams(tunnel)) {
        return std::make_unique<DatagramClient>(services, tunnel, std::move(sealing), sink);
    }
    auto carrier = problems.empty() ? part(Carrier::make(tunnel), problems) : nullptr;
    if (!carrier) {
        return problems;
    }
    return std::make_unique<ClientHead>(services, tunnel, ClientHead::Parts{std::move(carrier), std::move(sealing)},
                                        sink);
}

} // namespace

std::variant<std::unique_ptr<ClientRole>, Problems> make_client_role(Services services, const Tunnel& tunnel,
                                                                     ReplySink& sink)
{
    if (!tunnel.tls.clock) {
        return make_ungated(services, tunnel, sink);
    }
    auto gate = std::make_unique<BootstrapGate>(services, tunnel, sink);
    auto made = make_ungated(services, tunnel, gate->inner_sink());
    if (std::holds_alternative<Problems>(made)) {
        return made;
    }
    gate->guard(std::move(std::get<std::unique_ptr<ClientRole>>(made)));
    return gate;
}

std::variant<std::unique_ptr<ServerRole>, Problems> make_server_role(Services services, const Tunnel& tunnel)
{
    Problems problems;
    std::unique_ptr<ServerSealing> sealing;
    if (tunnel.mac) {
        sealing = part(make_mac_server_sealing(services, tunnel), problems);
    } else if (tunnel.nts) {
        sealing = part(make_nts_server_sealing(services, tunnel), problems);
    }
    if (problems.empty()) {
        sealing = with_faults(tunnel, std::move(sealing));
    }
    if (problems.empty() && is_on_datagrams(tunnel)) {
        return std::make_unique<DatagramServer>(services, tunnel, std::move(sealing));
    }
    auto carrier = problems.empty() ? part(Carrier::make(tunnel), problems) : nullptr;
    if (!carrier) {
        return problems;
    }
    return std::make_unique<ServerHead>(services, tunnel, std::move(carrier), std::move(sealing));
}

} // namespace gateway
