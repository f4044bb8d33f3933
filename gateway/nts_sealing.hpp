// The nts seal of a tunnel, with the key establishment behind it.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "gateway/carrier.hpp"
#include "gateway/config.hpp"
#include "gateway/sealing.hpp"
#include "gateway/services.hpp"

namespace gateway {

/// Reads every file; opens no socket. `tunnel` has an nts: block and outlives what is made.
[[nodiscard]] std::variant<std::unique_ptr<ClientSealing>, std::vector<CarrierProblem>>
make_nts_client_sealing(Services services, const Tunnel& tunnel);
[[nodiscard]] std::variant<std::unique_ptr<ServerSealing>, std::vector<CarrierProblem>>
make_nts_server_sealing(Services services, const Tunnel& tunnel);

} // namespace gateway
