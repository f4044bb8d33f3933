// What carries a tunnel's messages: the one place that knows which channel is built from which part of transports/.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "gateway/config.hpp"
#include "gateway/services.hpp"
#include "transports/admission.hpp"
#include "transports/channel.hpp"
#include "transports/loop.hpp"

namespace gateway {

class Credentials;

/// Why a carrier cannot be made; `setting` is the key within the channel's block ("tls", "ssh").
struct CarrierProblem {
    std::string block;
    std::string setting;
    std::string text;
};

/// The credentials and rules of one tunnel's channel, read and ready. What it makes keeps what it needs of it; loop and
/// tunnel outlive both.
class Carrier {
public:
    using Made = std::variant<std::unique_ptr<Carrier>, std::vector<CarrierProblem>>;
    using Bound = std::variant<std::unique_ptr<transports::Listener>, std::string>;

    /// Reads every file that the channel needs; opens no socket.
    [[nodiscard]] static Made make(const Tunnel& tunnel);

    Carrier() = default;
    virtual ~Carrier() = default;
    Carrier(const Carrier&) = delete;
    Carrier& operator=(const Carrier&) = delete;

    /// What works and deserves a word.
    [[nodiscard]] virtual std::vector<CarrierProblem> warnings() const { return {}; }

    /// What keeps up to date what its sessions are made of. `replaced` is called when that is something else than
    /// before: open channels are then to be looked at. To be destroyed last. Nothing where nothing is read.
    [[nodiscard]] virtual std::unique_ptr<Credentials> credentials(Services services,
                                                                   std::function<void()> replaced) const;

    /// Client role.
    [[nodiscard]] virtual std::unique_ptr<transports::Connector> connector(transports::Loop& loop) const = 0;
    /// Server role: bound to one of the tunnel's addresses, or the error text. `admission` and `handler` outlive it.
    [[nodiscard]] virtual Bound listen(transports::Loop& loop, const SocketAddress& address,
                                       transports::Admission& admission, transports::ChannelHandler& handler) const = 0;
};

} // namespace gateway
