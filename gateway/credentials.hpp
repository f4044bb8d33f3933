// One tunnel's certificate, key, trust anchors and revocation lists: read again when their files change, put to use
// when all of them are in order, and recorded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gateway/carrier.hpp"
#include "gateway/config.hpp"
#include "gateway/file_watch.hpp"
#include "gateway/services.hpp"
#include "transports/off_loop.hpp"
#include "transports/tls_inventory.hpp"
#include "transports/tls_supply.hpp"

namespace gateway {

class Credentials {
public:
    /// `tunnel` outlives it. `replaced` is called when the supply has other credentials than before: open channels are
    /// then to be looked at. Destroyed after whatever else shares the supply, it records that the key is gone.
    Credentials(Services services, const Tunnel& tunnel, transports::TlsSupply supply, std::function<void()> replaced);
    ~Credentials();
    Credentials(const Credentials&) = delete;
    Credentials& operator=(const Credentials&) = delete;

    /// Reads the files again, off the loop. Files that cannot be used leave everything as it is, and log and records
    /// say why.
    void reload();

private:
    using Context = std::shared_ptr<const transports::TlsContext>;
    struct Outcome {
        std::string wrong; // empty = the context was made
        Context context;
    };
    struct Retired {
        std::weak_ptr<const transports::TlsContext> context;
        transports::TlsInventory held;
    };
    [[nodiscard]] static Outcome load(const Tunnel& tunnel);
    void begin();
    void tick();
    void loaded(const Outcome& outcome);
    void keep_old(const std::string& wrong);
    void use(Context context);
    void record_anchors(const transports::TlsInventory& before, const transports::TlsInventory& after);
    void record_key(bool loaded, const transports::TlsInventory& held);
    void record_destroyed();
    void warn_of_expiry();
    void tell_staple(const transports::OcspFinding& finding);

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<transports::TlsSupply> supply_;
    std::function<void()> replaced_;
    FileWatch watch_;
    transports::TlsInventory held_;
    std::vector<Retired> retired_; // in use by channels until these end
    std::unique_ptr<transports::OffLoop> loading_;
    bool load_again_ = false; // asked for while loading
    bool begun_ = false;
    transports::Nanoseconds warned_{}; // boot clock
    std::string staple_told_ = "nothing yet";
    transports::Timer timer_;
};

/// Nothing where there is no supply.
[[nodiscard]] std::unique_ptr<Credentials> credentials_of(Services services, const Tunnel& tunnel,
                                                          const std::optional<transports::TlsSupply>& supply,
                                                          std::function<void()> replaced);

/// What of a tunnel's certificates and lists ends within thirty days (of one made for less than ninety, within the last
/// third), or has ended.
[[nodiscard]] std::vector<CarrierProblem> expiry_warnings(const Tunnel& tunnel, const transports::TlsInventory& held);

} // namespace gateway
