// What one tunnel's channel is authenticated by: read again when its files change, put to use when all of them are in
// order, and recorded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gateway/carrier.hpp"
#include "gateway/config.hpp"
#include "gateway/services.hpp"
#include "transports/ssh_supply.hpp"
#include "transports/tls_inventory.hpp"
#include "transports/tls_supply.hpp"

namespace gateway {

/// Destroyed after whatever else shares the supply, it records that the keys are gone.
class Credentials {
public:
    Credentials() = default;
    virtual ~Credentials() = default;
    Credentials(const Credentials&) = delete;
    Credentials& operator=(const Credentials&) = delete;

    /// Reads the files again, off the loop. Files that cannot be used leave everything as it is, and log and records
    /// say why.
    virtual void reload() = 0;
};

/// `tunnel` outlives what is made. `replaced` is called when the supply has other credentials than before: open
/// channels are then to be looked at.
[[nodiscard]] std::unique_ptr<Credentials>
make_credentials(Services services, const Tunnel& tunnel, transports::TlsSupply supply, std::function<void()> replaced);
[[nodiscard]] std::unique_ptr<Credentials>
make_credentials(Services services, const Tunnel& tunnel, transports::SshSupply supply, std::function<void()> replaced);

/// Nothing where there is no supply.
[[nodiscard]] std::unique_ptr<Credentials> credentials_of(Services services, const Tunnel& tunnel,
                                                          const std::optional<transports::TlsSupply>& supply,
                                                          std::function<void()> replaced);

/// What of a tunnel's certificates and lists ends within thirty days (of one made for less than ninety, within the last
/// third), or has ended.
[[nodiscard]] std::vector<CarrierProblem> expiry_warnings(const Tunnel& tunnel, const transports::TlsInventory& held);

} // namespace gateway
