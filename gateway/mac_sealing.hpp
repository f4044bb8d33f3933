// The mac seal of a tunnel: its keys, and for channel mac the look-up of who is asked.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "gateway/carrier.hpp"
#include "gateway/config.hpp"
#include "gateway/sealing.hpp"
#include "gateway/services.hpp"

namespace gateway {

/// Reads the key file. `tunnel` has a mac: block and outlives what is made.
[[nodiscard]] std::variant<std::unique_ptr<ClientSealing>, std::vector<CarrierProblem>>
make_mac_client_sealing(Services services, const Tunnel& tunnel);
[[nodiscard]] std::variant<std::unique_ptr<ServerSealing>, std::vector<CarrierProblem>>
make_mac_server_sealing(Services services, const Tunnel& tunnel);

} // namespace gateway
