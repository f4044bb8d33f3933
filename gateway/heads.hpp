// Makes a tunnel's head-end: the one place that knows which channel needs which of them, with which seal.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "gateway/carrier.hpp"
#include "gateway/config.hpp"
#include "gateway/roles.hpp"
#include "gateway/services.hpp"

namespace gateway {

/// Reads every file the channel needs; opens no socket. `tunnel` and `sink` outlive what is made.
[[nodiscard]] std::variant<std::unique_ptr<ClientRole>, std::vector<CarrierProblem>>
make_client_role(Services services, const Tunnel& tunnel, ReplySink& sink);
[[nodiscard]] std::variant<std::unique_ptr<ServerRole>, std::vector<CarrierProblem>>
make_server_role(Services services, const Tunnel& tunnel);

} // namespace gateway
