#include "gateway/mac_sealing.hpp"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "gateway/mac_keys.hpp"
#include "ntp-shim/mac_seal.hpp"
#include "transports/address.hpp"
#include "transports/look_up.hpp"

namespace gateway {

namespace {

class MacClient final : public ClientSealing {
public:
    MacClient(Services services, const Tunnel& tunnel, const MacKeys::Ring& ring)
        : loop_{services.loop}, patience_{tunnel.timing.connect}, seal_{ring, tunnel.mac->version},
          keys_{services, tunnel, ring, [this](MacKeys::Ring fresh) { seal_.use(std::move(fresh)); }},
          timer_{loop_, [this] { looked_up(took_too_long()); }}
    {}

    [[nodiscard]] ntp_shim::ClientSeal& seal() noexcept override { return seal_; }
    void reload() override { keys_.reload(); }
    void use(const Route& route) override { seal_.ask(transports::mapped(route.address)); }

    void find(const Target& target, Found found) override
    {
        found_ = std::move(found);
        look_up_ = std::make_unique<transports::LookUp>(
            loop_, transports::Target{target.host, target.port},
            [this](std::variant<transports::Addresses, transports::Failed> result) { looked_up(std::move(result)); });
        timer_.start(patience_);
    }

private:
    static transports::Failed took_too_long()
    {
        return {transports::CloseReason::connect_timeout, "name look-up took too long", {}};
    }

    void looked_up(std::variant<transports::Addresses, transports::Failed> result)
    {
        timer_.stop();
        look_up_.reset();
        const auto found = std::exchange(found_, nullptr); // which may ask again
        if (auto* failed = std::get_if<transports::Failed>(&result)) {
            found(std::move(*failed));
            return;
        }
        std::vector<Route> routes;
        for (const auto& address : std::get<transports::Addresses>(result)) {
            routes.push_back(route_to(address));
        }
        found(std::move(routes));
    }

    [[nodiscard]] Route route_to(const sockaddr_storage& address) const
    {
        Route route;
        route.address = address;
        route.peer.address = transports::address_text(address);
        route.peer.protocol = fmt::format("NTPv{}", seal_.version());
        if (const auto key = seal_.key_for(transports::mapped(address))) {
            route.peer.subject = fmt::format("key {}", key->id());
            route.peer.suite = name(key->kind());
        }
        return route;
    }

    transports::Loop& loop_;
    transports::Nanoseconds patience_; // with a name look-up
    ntp_shim::MacClientSeal seal_;
    MacKeys keys_;
    Found found_;
    std::unique_ptr<transports::LookUp> look_up_;
    transports::Timer timer_;
};

class MacServer final : public ServerSealing {
public:
    MacServer(Services services, const Tunnel& tunnel, const MacKeys::Ring& ring)
        : seal_{ring, tunnel.mac->rules}, keys_{services, tunnel, ring,
                                                [this](MacKeys::Ring fresh) { seal_.use(std::move(fresh)); }}
    {}

    [[nodiscard]] ntp_shim::ServerSeal& seal() noexcept override { return seal_; }
    void reload() override { keys_.reload(); }

private:
    ntp_shim::MacServerSeal seal_;
    MacKeys keys_;
};

template <class Role, class Made>
std::variant<std::unique_ptr<Role>, std::vector<CarrierProblem>> make(Services services, const Tunnel& tunnel)
{
    auto loaded = load_mac_keys(tunnel);
    if (loaded.ring) {
        return std::make_unique<Made>(services, tunnel, std::exchange(loaded.ring, nullptr));
    }
    std::vector<CarrierProblem> problems;
    for (const auto& error : loaded.errors) {
        const auto where = error.line == 0 ? std::string{} : fmt::format(":{}", error.line);
        problems.push_back({"mac", "keys", fmt::format("{}{}: {}", tunnel.mac->keys.string(), where, error.text)});
    }
    return problems;
}

} // namespace

std::variant<std::unique_ptr<ClientSealing>, std::vector<CarrierProblem>> make_mac_client_sealing(Services services,
                                                                                                  const Tunnel& tunnel)
{
    return make<ClientSealing, MacClient>(services, tunnel);
}

std::variant<std::unique_ptr<ServerSealing>, std::vector<CarrierProblem>> make_mac_server_sealing(Services services,
                                                                                                  const Tunnel& tunnel)
{
    return make<ServerSealing, MacServer>(services, tunnel);
}

} // namespace gateway
