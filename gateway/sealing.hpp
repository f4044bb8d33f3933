// A tunnel's seal with what keeps it going: a key file, a key establishment. What a head-end is given beside its
// carrier; mac and nts each make their own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "gateway/config.hpp"
#include "ntp-shim/seal.hpp"
#include "transports/address.hpp"
#include "transports/channel.hpp"

namespace gateway {

/// Where a datagram tunnel's requests go, and what is known of who answers there.
struct Route {
    sockaddr_storage address{};
    transports::PeerIdentity peer; // the seal's words: subject "key 7", suite "SHA256"
};

class ClientSealing {
public:
    ClientSealing() = default;
    virtual ~ClientSealing() = default;
    ClientSealing(const ClientSealing&) = delete;
    ClientSealing& operator=(const ClientSealing&) = delete;

    [[nodiscard]] virtual ntp_shim::ClientSeal& seal() noexcept = 0;
    virtual void reload() = 0;

    using Found = std::function<void(std::variant<std::vector<Route>, transports::Failed>)>;
    /// Finds out, by name look-up or key establishment, where `target` is asked. `found` is called once on a later
    /// turn, with at least one route; finding again, or the end of this object, cancels it without a call. Not asked
    /// for an inner seal.
    virtual void find(const Target& target, Found found) = 0;
    /// One of the routes found last is the one that is asked from now on.
    virtual void use(const Route& route) = 0;
    /// What was found last must not be used after all: it is found anew.
    virtual void distrust() {}
    /// `stale` is called when what was found should be found again, while it may still be used.
    virtual void on_stale(std::function<void()> /*stale*/) {}
};

class ServerSealing {
public:
    ServerSealing() = default;
    virtual ~ServerSealing() = default;
    ServerSealing(const ServerSealing&) = delete;
    ServerSealing& operator=(const ServerSealing&) = delete;

    [[nodiscard]] virtual ntp_shim::ServerSeal& seal() noexcept = 0;
    virtual void reload() = 0;

    // What stands beside the packets (key establishment); a seal without it has nothing to do here.
    /// `asked_at`: where the tunnel's packets come, as bound. The error text.
    [[nodiscard]] virtual std::optional<std::string> bind(const std::vector<std::string>& /*asked_at*/)
    {
        return std::nullopt;
    }
    [[nodiscard]] virtual std::vector<std::string> addresses() const { return {}; } // as bound
    virtual void drain() {}
    virtual void count(nlohmann::ordered_json& /*counters*/) const {}
    /// Profile lab: what goes out beside the reply sealed last, though nobody asked for it; empty = nothing.
    [[nodiscard]] virtual std::span<const std::byte> unsolicited() const noexcept { return {}; }
};

} // namespace gateway
